"""Shards as large as a real corpus that take hardly any disk: the tokens are holes, the documents' ends are real."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codellama_train import artifacts
from codellama_train.tokens.lane_state import LaneState
from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.mixture import MixtureSource
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.shards import DOCUMENT_ID_BYTES, TOKENS_PER_SHARD, ShardSet, dtype_for
from codellama_train.tokens.tokenizer import Tokenizer

MEDIAN_TOKENS, LOG_SPREAD = 1_100, 1.2  # of a log-normal law: a mean of 2,260
NUM_LANES, SEQUENCE_LENGTH = 1_024, 4_096


class Resident(NamedTuple):
    """Bytes of memory a process holds: its own, and pages of files, which the system takes back when it needs them."""

    own: int
    files: int


class Footprint(NamedTuple):
    """What a process held before, with the shards open, and after reading rows; and how long opening took."""

    before: Resident
    opened: Resident
    read: Resident
    opening_seconds: float


def write_sparse_shards(folder: Path, tokenizer: Tokenizer, *, gigabytes: float) -> None:
    """Write a shard set of that size whose ids are all holes, read as zeros; no checksums."""
    folder.mkdir()
    dtype = dtype_for(tokenizer.vocabulary_size)
    generator = np.random.default_rng(7)
    shards, longest = [], 0
    for number in range(max(1, round(gigabytes * 1e9 / dtype.itemsize / TOKENS_PER_SHARD))):
        lengths = np.exp(generator.normal(np.log(MEDIAN_TOKENS), LOG_SPREAD, TOKENS_PER_SHARD // 1_000)).astype(int)
        ends = lengths.cumsum()
        ends = ends[: int(ends.searchsorted(TOKENS_PER_SHARD))]
        shards.append({"documents": len(ends), "tokens": int(ends[-1])})
        longest = max(longest, int(lengths.max()))
        stem = folder / f"{number:05d}"
        ends.astype("<u8").tofile(stem.with_suffix(".ends"))
        sizes = {"tokens": int(ends[-1]) * dtype.itemsize, "ids": len(ends) * DOCUMENT_ID_BYTES, "exact": len(ends)}
        for name, size in sizes.items():
            with stem.with_suffix("." + name).open("wb") as file:
                file.truncate(size)
    totals = {name: sum(shard[name] for shard in shards) for name in ("documents", "tokens")}
    about = {"kind": "documents", "tokenizer": tokenizer.fingerprint, "vocabulary_size": tokenizer.vocabulary_size}
    more = {"dtype": dtype.str, "inexact_documents": totals["documents"], "longest_document": longest, "files": {}}
    artifacts.write_json(folder / artifacts.MANIFEST, {**about, **totals, **more, "shards": shards})


def measure_footprint(folder: Path, tokenizer_path: Path, num_rows: int) -> Footprint:
    """Open the shards and read rows at random places of the order; for a process that has done nothing else."""
    tokenizer = open_tokenizer(tokenizer_path)
    before, started = resident(), time.perf_counter()
    shards = ShardSet(folder)
    source = MixtureSource("code", 1.0, shards, 0.9)
    mixture = Mixture([source], tokenizer=tokenizer, sequence_length=SEQUENCE_LENGTH, num_lanes=NUM_LANES, seed=7)
    mixture.next_row(0, mixture.initial_state(0))
    opening_seconds, opened = time.perf_counter() - started, resident()
    places = random.Random(7)
    for _ in range(num_rows):
        number = places.randrange(shards.num_documents // NUM_LANES)
        state = LaneState((number,), (number * MEDIAN_TOKENS,), (0,), (0,), carried=None)
        mixture.next_row(places.randrange(NUM_LANES), state)
    return Footprint(before, opened, resident(), opening_seconds)


def resident() -> Resident:
    """Read this process's resident memory as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    return Resident(kilobytes["RssAnon"] * 1024, kilobytes["RssFile"] * 1024)


def disk_bytes(folder: Path) -> tuple[int, int]:
    """Give the bytes that a folder's files seem to have, and the bytes they take on disk."""
    found = [path.stat() for path in folder.iterdir()]
    return sum(one.st_size for one in found), sum(one.st_blocks * 512 for one in found)
