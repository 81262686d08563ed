"""A shard set without some of its documents: shards that hold them are written anew, the others keep their bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codellama_train import artifacts
from codellama_train.tokens.shards import DOCUMENT_ID_BYTES, SUFFIXES, ShardSet

BoolArray = npt.NDArray[np.bool_]


def shards_that_hold(shards: ShardSet, chosen: BoolArray) -> dict[int, BoolArray]:
    """Give, for each shard that holds any of the chosen documents, which of its own they are."""
    ends = np.cumsum([shard["documents"] for shard in shards.manifest["shards"]])
    own = np.split(chosen, ends[:-1])
    return {number: each for number, each in enumerate(own) if each.any()}


def write_without(shards: ShardSet, dropped: BoolArray, folder: Path, *, inexact_by_cause: Mapping[str, int]) -> None:
    """Write a shard set without the dropped documents; files of shards that hold none are linked, not copied.

    `inexact_by_cause` is said of what stays: shards do not store causes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed = shards_that_hold(shards, dropped)
    names = SUFFIXES if shards.kind == "dialogues" else SUFFIXES[:-1]
    counts, files, longest = [], {}, 0
    for number, known in enumerate(shards.manifest["shards"]):
        keep = ~changed[number] if number in changed else None
        lengths = np.diff(shards.stored(number, "ends"), prepend=np.uint64(0)).astype(np.int64)
        for name in names:
            path = shards.path_of(number, name)
            if keep is None:
                link(path, folder / path.name)
                files[path.name] = shards.manifest["files"][path.name]
            else:
                _write_file(shards, number, name, keep, lengths, folder / path.name)
                files[path.name] = artifacts.vouch_for(folder / path.name)
        if keep is not None:
            lengths = lengths[keep]
            known = {"documents": len(lengths), "tokens": int(lengths.sum())}
        counts.append(known)
        longest = max(longest, int(lengths.max(initial=0)))
    facts: dict[str, Any] = {
        key: value for key, value in shards.manifest.items() if key not in ("files", artifacts.OWN_CHECKSUM)
    }
    totals = {name: sum(shard[name] for shard in counts) for name in ("documents", "tokens")}
    inexact = {"inexact_documents": sum(inexact_by_cause.values()), "inexact_by_cause": dict(inexact_by_cause)}
    artifacts.write_manifest(
        folder, {**facts, **totals, **inexact, "longest_document": longest, "shards": counts}, files=files
    )


def link(path: Path, copy: Path) -> None:
    """Give a file a second name, or a copy where the file system has no such thing."""
    try:
        os.link(path, copy)
    except OSError:
        shutil.copyfile(path, copy)


def _write_file(
    shards: ShardSet, shard: int, name: str, keep: BoolArray, lengths: npt.NDArray[np.int64], path: Path
) -> None:
    """Write one file of one shard, run by run of documents that stay."""
    if name == "ends":
        path.write_bytes(np.cumsum(lengths[keep]).astype("<u8").tobytes())
        return
    stored = shards.stored(shard, name)
    widths = {"ids": np.full(len(keep), DOCUMENT_ID_BYTES), "exact": np.ones(len(keep), np.int64)}.get(name, lengths)
    starts = np.concatenate([[0], np.cumsum(widths)])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], keep, [False]]).astype(np.int8)))
    with path.open("wb") as file:
        for first, stop in edges.reshape(-1, 2):
            file.write(stored[starts[first] : starts[stop]].tobytes())
