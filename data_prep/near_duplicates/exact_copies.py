"""Documents of equal text, white space aside: found by content hash, the one of the best rank kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.near_duplicates.columns import Range, Run, gathered, key_ranges, write_columns
from data_prep.near_duplicates.survey import Ranks, Survey
from data_prep.work import Facts, Work

SORTED_HASH_BYTES = 2 * 16 + 40  # what a content hash takes while its range is sorted


def find_exact_copies(
    work: Work, surveyed: Survey, ranks: Ranks, earlier: Sequence[Run], *, num_earlier: int, share_bytes: int, into: str
) -> list[Path]:
    """Write which documents say the same as one of better rank, and which the same as one of an earlier release."""
    num_hashes = surveyed.num_documents + num_earlier
    ranges = key_ranges([*surveyed.contents, *earlier], "key", 1 + num_hashes * SORTED_HASH_BYTES // share_bytes)
    find = partial(_find_in_range, runs=surveyed.contents, ranks=ranks, earlier=earlier)
    work.produce(
        find, ranges, name=lambda task: task.name, description="deduplicate: exact copies", unit="ranges", into=into
    )
    return [work.folder / into / f"copies-{task.name}" for task in ranges]


def _find_in_range(task: Range, folder: Path, *, runs: Sequence[Run], ranks: Ranks, earlier: Sequence[Run]) -> Facts:
    """Compare the documents whose content hashes lie in one range; runs in a worker."""
    hashes, rows = gathered(runs, ["key", "row"], task.low, task.high)
    released = np.full(len(rows), -1, dtype=np.int64)
    if earlier:
        known, known_rows = gathered(earlier, ["key", "row"], task.low, task.high)
        released = matches(hashes, known, known_rows)
    is_new = released < 0
    copies, originals = copies_of(hashes[is_new], ranks.of_row[rows[is_new]])
    write_columns(
        folder / f"copies-{task.name}",
        {
            "copy": rows[is_new][copies],
            "original": rows[is_new][originals],
            "released": rows[~is_new],
            "match": released[~is_new].astype(np.uint32),
        },
    )
    return {}


def copies_of(
    hashes: npt.NDArray[np.bytes_], ranks: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give the places of documents whose hash one of better rank has too, and the best one's place for each."""
    order = np.lexsort((ranks, hashes))
    is_best = np.ones(len(order), dtype=bool)
    is_best[1:] = hashes[order[1:]] != hashes[order[:-1]]
    best = np.maximum.accumulate(np.where(is_best, np.arange(len(order)), 0))
    return order[~is_best], order[best[~is_best]]


def matches(
    hashes: npt.NDArray[np.bytes_], known: npt.NDArray[np.bytes_], known_rows: npt.NDArray[np.uint32]
) -> npt.NDArray[np.int64]:
    """Give for each hash the first row that has it among the known ones, or -1."""
    if not len(known):
        return np.full(len(hashes), -1, dtype=np.int64)
    order = np.lexsort((known_rows, known))
    places = np.minimum(np.searchsorted(known, hashes, sorter=order), len(known) - 1)
    found = order[places]
    return np.where(known[found] == hashes, known_rows[found].astype(np.int64), -1)
