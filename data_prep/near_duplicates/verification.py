"""Verification: the exact Jaccard similarity of candidate pairs, of which those below the recipe's go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data_prep.near_duplicates.candidates import Pairs, unpacked
from data_prep.near_duplicates.columns import Column, Run, chunks, open_columns, write_columns
from data_prep.near_duplicates.shingle_files import Sets, ShingleFiles
from data_prep.near_duplicates.shingles import Similarities, jaccard, most_similar
from data_prep.near_duplicates.survey import Ranks
from data_prep.work import Facts, Work

PAIRS_PER_TASK = 500_000
PAIRS_AT_A_TIME = 4_000


@dataclass(frozen=True)
class Slice:
    """Some pairs of a file."""

    path: Path
    start: int
    end: int

    @property
    def name(self) -> str:
        """Name the task."""
        return f"{self.path.name}-{self.start:012d}-{self.end - self.start}"


@dataclass(frozen=True)
class Sides:
    """Where the sets of a pair's two documents are; `ranks` leads to their rows, None where pairs are of rows."""

    worse: ShingleFiles
    better: ShingleFiles
    ranks: Ranks | None

    def sets_of(self, pairs: Pairs) -> tuple[Sets, Sets]:
        """Find the sets of both documents of each pair."""
        worse, better = unpacked(pairs)
        if self.ranks is not None:
            worse, better = self.ranks.rows[worse], self.ranks.rows[better]
        return self.worse.sets_of(worse), self.better.sets_of(better)


def verify(work: Work, candidates: Sequence[Run], sides: Sides, *, into: str) -> tuple[list[Run], int]:
    """Write the pairs that reach the recipe's similarity, in the same order; gives the files and how many they hold."""
    sizes = [(run.path, len(open_columns(run.path)["pair"])) for run in candidates]
    tasks = [
        Slice(path, start, min(start + PAIRS_PER_TASK, size))
        for path, size in sizes
        for start in range(0, size, PAIRS_PER_TASK)
    ]
    facts = work.produce(
        partial(_verify_slice, sides=sides, similarity=work.recipe.deduplication.similarity),
        tasks,
        name=lambda task: task.name,
        description="deduplicate: verified",
        unit="slices of pairs",
        into=into,
    )
    return [Run(work.folder / into / task.name) for task in tasks], sum(each["pairs"] for each in facts)


def _verify_slice(task: Slice, folder: Path, *, sides: Sides, similarity: float) -> Facts:
    """Verify some pairs; runs in a worker."""
    pairs = open_columns(task.path)["pair"][task.start : task.end]
    kept: list[Pairs] = [np.empty(0, np.uint64)]
    values: list[Similarities] = [np.empty(0, np.float64)]
    for some in chunks(pairs, PAIRS_AT_A_TIME):
        found = similarities(*sides.sets_of(some), similarity)
        is_similar = found >= similarity
        kept.append(some[is_similar])
        values.append(found[is_similar])
    columns = {"pair": np.concatenate(kept), "similarity": np.concatenate(values)}
    write_columns(folder / task.name, columns)
    return {"pairs": len(columns["pair"])}


def similarities(first: Sets, second: Sets, least: float) -> Similarities:
    """Give the pairs' Jaccard similarity; 0 where the bitmaps alone say that it is below `least`."""
    found = np.zeros(len(first.sizes))
    bound = most_similar(first.bitmaps, second.bitmaps, first.sizes, second.sizes)
    for index in np.flatnonzero(bound >= least).tolist():
        found[index] = jaccard(first.hashes(index), second.hashes(index))
    return found


def verified_pairs(runs: Sequence[Run]) -> Iterator[tuple[Column, Column, Column]]:
    """Read the verified pairs back in their order, some at a time: worse, better, similarity."""
    for run in runs:
        columns = open_columns(run.path)
        for start in range(0, len(columns["pair"]), PAIRS_PER_TASK):
            part = slice(start, start + PAIRS_PER_TASK)
            yield (*unpacked(columns["pair"][part]), columns["similarity"][part])
