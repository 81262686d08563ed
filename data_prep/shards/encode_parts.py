"""The workers' half of the shards stage: a part's documents go to their views, are cut, encoded and left as chunks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from codellama_train.recipe.data import ShardView
from codellama_train.recipe.data_rules import Redaction
from data_prep.decisions import numbers
from data_prep.documents import id_array
from data_prep.parts import BoolArray, kept_by, only, part_names, source_of, tags_of
from data_prep.removals import Removals
from data_prep.shards.chunks import write_chunk
from data_prep.shards.shard_rows import load_encoder, rows_of_documents
from data_prep.split import HELD_OUT, SPLITS, TRAIN, is_held_out_by_part
from data_prep.tags.redaction import documents_to_encode
from data_prep.work import MEGABYTE, Facts, Work

CHUNKS = ".chunks"
KILOBYTE = 1_000
Last = dict[str, bytes]


def chunk_name(part: str, split: str) -> str:
    """Name the file of a part's pieces on one side."""
    return f"{part}.{split}.arrow"


def last_taken(work: Work) -> Last:
    """Give, for each capped view, the last training document it takes when they come in order of document id."""
    capped = {name: view for name, view in work.recipe.shards.items() if view.max_megabytes is not None}
    last: Last = {}
    for name, view in capped.items():
        assert view.max_megabytes is not None
        parts = [part for part in part_names(work.run_dir) if source_of(part) == view.source]
        size_part = partial(_training_sizes, run_dir=work.run_dir, view=view)
        found = list(work.map(size_part, parts, description=f"shards: size of {name}", unit="parts"))
        ids = np.concatenate([np.empty(0, "S16"), *(ids for ids, _ in found)])
        sizes = np.concatenate([np.empty(0, np.int64), *(sizes for _, sizes in found)])
        order = np.argsort(ids)
        before = np.cumsum(sizes[order]) - sizes[order]
        taken = ids[order][before < view.max_megabytes * MEGABYTE]
        if len(taken) < len(ids):
            last[name] = bytes(taken[-1]).ljust(16, b"\0")
    return last


def _training_sizes(part: str, run_dir: Path, view: ShardView) -> tuple[Any, Any]:
    """Give ids and bytes of a part's training documents that a view wants; runs in a worker."""
    tags = tags_of(run_dir, part, ["document_id", "language", "num_bytes"])
    wanted = kept_by(run_dir, "split", part) & ~is_held_out_by_part(run_dir, part) & _matches(tags, view)
    return id_array(tags["document_id"])[wanted], numbers(tags, "num_bytes")[wanted]


def _matches(tags: Any, view: ShardView) -> BoolArray:
    """Tell which documents of the view's source have a language and a length that it takes."""
    languages = np.asarray(tags["language"].to_pylist(), dtype=object)
    matches: BoolArray = np.isin(languages, view.languages) if view.languages else np.ones(len(tags), dtype=np.bool_)
    return matches & (numbers(tags, "num_bytes") >= (view.min_document_kilobytes or 0) * KILOBYTE)


def encode_part(
    part: str,
    folder: Path,
    *,
    run_dir: Path,
    views: Mapping[str, ShardView],
    last_taken: Last,
    redaction: Redaction | None,
    tokenizer: str,
) -> Facts:
    """Write the encoded pieces of one part, a chunk for each side; runs in a worker.

    `tokenizer` is the fingerprint of the tokenizer's model.
    """
    encoder = load_encoder(run_dir / "tokenizer", tokenizer)
    removals = Removals()
    kept, held_out = kept_by(run_dir, "split", part), is_held_out_by_part(run_dir, part)
    own = {name: view for name, view in views.items() if view.source == source_of(part)}
    takes = _views_of_rows(run_dir, part, own, kept, held_out, last_taken, removals)
    table = documents_to_encode(run_dir, part, redaction)
    for split, on_side in zip(SPLITS, (kept & ~held_out, kept & held_out), strict=True):
        assert split in (TRAIN, HELD_OUT)
        chosen = on_side & np.logical_or.reduce([np.zeros(len(table), dtype=np.bool_), *takes.values()])
        names = [[name for name in own if takes[name][row]] for row in np.flatnonzero(chosen)]
        documents = zip(only(table, chosen).to_pylist(), names, strict=True)
        write_chunk(folder / chunk_name(part, split), rows_of_documents(documents, encoder, views, removals))
    return {"removed": removals.as_json()}


def _views_of_rows(
    run_dir: Path,
    part: str,
    views: Mapping[str, ShardView],
    kept: BoolArray,
    held_out: BoolArray,
    last_taken: Last,
    removals: Removals,
) -> dict[str, BoolArray]:
    """Tell for each view which rows it takes; a full one takes no more training documents."""
    columns = ["document_id", "language", "repository", "path", "beginning", "num_bytes"]
    tags = tags_of(run_dir, part, columns)
    ids = id_array(tags["document_id"])
    takes: dict[str, BoolArray] = {}
    for name, view in views.items():
        wanted = kept & _matches(tags, view)
        is_over = wanted & ~held_out & (ids > last_taken.get(name, b"\xff" * 16))
        for row in only(tags, is_over).to_pylist():
            path = f"{row['repository']}: {row['path']}"
            removals.add(name, "over_max_megabytes", path=path, text=row["beginning"], num_bytes=row["num_bytes"])
        takes[name] = wanted & ~is_over
    return takes
