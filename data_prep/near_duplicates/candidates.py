"""Candidate pairs: documents whose signatures agree in a band, found one band and one range of hashes at a time.

A pair is one number, the worse rank above the better one, so that sorted pairs come in the order of the documents that
may be dropped, and each has its better copies beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.near_duplicates.columns import (
    Column,
    Range,
    Run,
    distinct,
    gathered,
    hash_ranges,
    key_ranges,
    open_array,
    write_columns,
)
from data_prep.near_duplicates.minhash import Hashes
from data_prep.near_duplicates.states import SEARCHED
from data_prep.near_duplicates.survey import Ranks
from data_prep.work import Facts, Work

# A group's pairs grow with the square of its size. In a larger one every member is compared with the group's first
# members by rank only, which are the ones that would be kept.
FULLY_COMPARED = 64
ENTRIES_PER_TASK = 4_000_000  # hashes; fewer are not worth a task of their own
SORTED_ENTRY_BYTES = 64  # what a document takes while one band's range is sorted and grouped
SORTED_PAIR_BYTES = 24
Pairs = npt.NDArray[np.uint64]
Ranked = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class BandRange:
    """One range of the hashes of some bands, which are worked on one after the other."""

    bands: range
    range: Range

    @property
    def name(self) -> str:
        """Name the task."""
        return f"{self.bands.start:03d}-{self.bands.stop:03d}-{self.range.name}"

    def entries(self, index: Sequence[Run], band: int) -> tuple[Hashes, Column]:
        """Read the hashes of one band and the rows that have them."""
        hashes, rows = gathered(index, [f"hash_{band:03d}", f"row_{band:03d}"], self.range.low, self.range.high)
        return hashes, rows


def band_ranges(bands: int, entries: int, share_bytes: int) -> list[BandRange]:
    """Cut the work so that one task's part of a band fits into `share_bytes`; small bands go together."""
    ranges = hash_ranges(1 + entries * SORTED_ENTRY_BYTES // share_bytes)
    together = max(1, ENTRIES_PER_TASK * len(ranges) // max(entries, 1))
    each_bands = [range(start, min(start + together, bands)) for start in range(0, bands, together)]
    return [BandRange(own, each) for own in each_bands for each in ranges]


def find_candidates(
    work: Work, index: Sequence[Run], ranks: Ranks, states: Path, *, entries: int, share_bytes: int, into: str
) -> list[Run]:
    """Write the candidate pairs of all bands, each pair once; gives the files in the order of their pairs."""
    found = f"{into}.found"
    tasks = band_ranges(work.recipe.deduplication.bands, entries, share_bytes)
    facts = work.produce(
        partial(_find_in_band, index=index, ranks=ranks, states=states, share_bytes=share_bytes),
        tasks,
        name=lambda task: task.name,
        description="deduplicate: candidates",
        unit="band ranges",
        into=found,
    )
    runs = [Run(work.folder / found / name) for each in facts for name in each["files"]]
    return unique_pairs(work, runs, sum(each["pairs"] for each in facts), share_bytes=share_bytes, into=into)


def _find_in_band(
    task: BandRange, folder: Path, *, index: Sequence[Run], ranks: Ranks, states: Path, share_bytes: int
) -> Facts:
    """Pair the documents that share a hash in one range of one band; runs in a worker."""
    pieces = (
        pairs
        for band in task.bands
        for pairs in _pairs_of_band(*task.entries(index, band), open_array(states, np.uint8), ranks.of_row)
    )
    return write_pairs(folder, task.name, pieces, most=share_bytes // SORTED_PAIR_BYTES)


def _pairs_of_band(hashes: Hashes, rows: Column, states: Column, rank_of_row: Ranked) -> Iterator[Pairs]:
    several = repeated(hashes)
    hashes, rows = hashes[several], rows[several]
    is_searched = states[rows] == SEARCHED
    yield from pairs_in_groups(hashes[is_searched], rank_of_row[rows[is_searched]])


def repeated(hashes: Hashes) -> npt.NDArray[np.int64]:
    """Give the places of the hashes that occur more than once, which are few."""
    order = np.argsort(hashes)
    is_equal = hashes[order[1:]] == hashes[order[:-1]]
    is_repeated = np.zeros(len(hashes), dtype=bool)
    is_repeated[1:] = is_equal
    is_repeated[:-1] |= is_equal
    return order[is_repeated]


def pairs_in_groups(hashes: Hashes, ranks: Ranked) -> Iterator[Pairs]:
    """Give the pairs of documents that share a hash, in pieces no longer than the input."""
    order = np.lexsort((ranks, hashes))
    hashes, ranks = hashes[order], ranks[order]
    places = np.arange(len(order))
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = hashes[1:] != hashes[:-1]
    place_in_group = places - np.maximum.accumulate(np.where(is_first, places, 0))
    for best in range(FULLY_COMPARED):
        worse = np.flatnonzero(place_in_group > best)
        if not len(worse):
            return
        yield packed(ranks[worse], ranks[worse - place_in_group[worse] + best])


def packed(worse: Column, better: Column) -> Pairs:
    """Put pairs into one number each."""
    return worse.astype(np.uint64) << np.uint64(32) | better.astype(np.uint64)


def unpacked(pairs: Pairs) -> tuple[Ranked, Ranked]:
    """Give the worse and the better half of pairs."""
    return (pairs >> np.uint64(32)).astype(np.uint32), pairs.astype(np.uint32)


def write_pairs(folder: Path, name: str, pieces: Iterator[Pairs], *, most: int) -> Facts:
    """Write pairs as they come, into sorted files of about `most` pairs."""
    files: list[str] = []
    total = 0
    for pairs in _joined(pieces, most):
        files.append(f"{name}-{len(files):04d}")
        write_columns(folder / files[-1], {"pair": distinct(pairs)})
        total += len(pairs)
    return {"files": files, "pairs": total}


def _joined(pieces: Iterator[Pairs], most: int) -> Iterator[Pairs]:
    """Put pieces together until there are `most` pairs."""
    waiting: list[Pairs] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(map(len, waiting)) >= most:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def unique_pairs(work: Work, runs: Sequence[Run], count: int, *, share_bytes: int, into: str) -> list[Run]:
    """Bring the pairs of many files into order, each once."""
    ranges = key_ranges(runs, "pair", 1 + count * SORTED_PAIR_BYTES // share_bytes) if runs else []
    work.produce(
        partial(_unique_in_range, runs=runs),
        ranges,
        name=lambda task: task.name,
        description="deduplicate: distinct pairs",
        unit="ranges",
        into=into,
    )
    return [Run(work.folder / into / task.name) for task in ranges]


def _unique_in_range(task: Range, folder: Path, *, runs: Sequence[Run]) -> Facts:
    """Sort the pairs of one range; runs in a worker."""
    (pairs,) = gathered(runs, ["pair"], task.low, task.high)
    write_columns(folder / task.name, {"pair": distinct(pairs)})
    return {}
