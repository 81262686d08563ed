"""The survey before any text is compared: all documents numbered, ranked, and equal texts found by their hashes.

A document's *row* counts over all parts of a run in their order; its *rank* says its place among those that may be
kept. One number per document is held in files that are mapped into memory; everything larger is sorted range by range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_prep.documents import id_array
from data_prep.near_duplicates.columns import Range, Run, gathered, key_ranges, new_array, open_array, write_columns
from data_prep.near_duplicates.ranking import KEY_BYTES, RANK_COLUMNS, ids_in, rank_keys
from data_prep.parts import kept_by, only, part_names, tags_of
from data_prep.work import Facts, Work

NONE = 2**32 - 1  # where a row or rank could stand
PARTS_PER_GROUP = 64
# What a key takes while its range is sorted: itself, its copy in order, and the order.
SORTED_KEY_BYTES = 2 * KEY_BYTES + 24
SAMPLED_WORDS = range(50, 1_000)  # of the documents that duplicates may be planted from


@dataclass(frozen=True)
class Group:
    """Some consecutive parts of a run, and the row of the first one's first document."""

    index: int
    parts: tuple[str, ...]
    first_row: int = 0

    @property
    def name(self) -> str:
        """Name the group in a file's name."""
        return f"{self.index:06d}"


@dataclass(frozen=True)
class Survey:
    """The documents of a run that passed a stage, numbered; `first_rows` has the number of all rows at its end."""

    run_dir: Path
    parts: tuple[str, ...]
    first_rows: tuple[int, ...]
    num_documents: int
    keys: tuple[Run, ...]
    contents: tuple[Run, ...]
    samples: tuple[tuple[str, str, int], ...]  # id, part and row in the part of the documents of smallest id

    @property
    def num_rows(self) -> int:
        """Count the rows of all parts."""
        return self.first_rows[-1]

    def groups(self, size: int) -> list[Group]:
        """Take that many parts together."""
        starts = range(0, len(self.parts), size)
        return [
            Group(index, self.parts[start : start + size], self.first_rows[start]) for index, start in enumerate(starts)
        ]


def survey(work: Work, run_dir: Path, *, stage: str, into: str, num_samples: int = 0) -> Survey:
    """Number the documents of a run that survive `stage`, and sort what ranks and exact copies are found by."""
    parts = part_names(run_dir)
    tasks = [
        Group(index, tuple(parts[start : start + PARTS_PER_GROUP]))
        for index, start in enumerate(range(0, len(parts), PARTS_PER_GROUP))
    ]
    look = partial(_survey_group, run_dir=run_dir, stage=stage, num_samples=num_samples)
    facts = work.produce(
        look, tasks, name=lambda task: task.name, description="deduplicate: survey", unit="groups of parts", into=into
    )
    counts = [count for each in facts for count in each["rows"]]
    first_rows = tuple(accumulate(counts, initial=0))
    firsts = [first_rows[PARTS_PER_GROUP * task.index] for task in tasks]
    folder = work.folder / into
    return Survey(
        run_dir=run_dir,
        parts=tuple(parts),
        first_rows=first_rows,
        num_documents=sum(each["documents"] for each in facts),
        keys=tuple(Run(folder / f"keys-{task.name}", first) for task, first in zip(tasks, firsts, strict=True)),
        contents=tuple(Run(folder / f"contents-{task.name}", first) for task, first in zip(tasks, firsts, strict=True)),
        samples=tuple(nsmallest(num_samples, (tuple(sample) for each in facts for sample in each["samples"]))),
    )


def _survey_group(group: Group, folder: Path, *, run_dir: Path, stage: str, num_samples: int) -> Facts:
    """Write the sorted rank keys and content hashes of a group's documents; runs in a worker."""
    rows, keys, contents = [], [], []
    counts: list[int] = []
    samples: list[tuple[str, str, int]] = []
    for part in group.parts:
        tags = tags_of(run_dir, part, [*RANK_COLUMNS, "content_hash", "num_words"])
        kept = kept_by(run_dir, stage, part)
        rows.append(sum(counts) + np.flatnonzero(kept))
        counts.append(len(kept))
        documents = only(tags, kept)
        keys.append(rank_keys(documents))
        contents.append(id_array(documents["content_hash"]))
        samples = nsmallest(num_samples, [*samples, *_samples(part, documents, np.flatnonzero(kept))])
    row = np.concatenate(rows).astype(np.uint32)
    for name, column in (("keys", np.concatenate(keys)), ("contents", np.concatenate(contents))):
        order = np.argsort(column, kind="stable")
        write_columns(folder / f"{name}-{group.name}", {"key": column[order], "row": row[order]})
    return {"rows": counts, "documents": len(row), "samples": samples}


def _samples(part: str, documents: Any, rows: npt.NDArray[np.int64]) -> list[tuple[str, str, int]]:
    ids = documents["document_id"].to_pylist()
    words = documents["num_words"].to_pylist()
    return [
        (identity.hex(), part, row)
        for identity, count, row in zip(ids, words, rows.tolist(), strict=True)
        if count in SAMPLED_WORDS
    ]


@dataclass(frozen=True)
class Ranks:
    """The three arrays that lead from row to rank, and from rank to row and document id."""

    folder: Path

    @property
    def of_row(self) -> npt.NDArray[np.uint32]:
        """Give each row's rank; NONE for one that did not pass."""
        return open_array(self.folder / "rank_of_row", np.uint32)

    @property
    def rows(self) -> npt.NDArray[np.uint32]:
        """Give each rank's row."""
        return open_array(self.folder / "row_of_rank", np.uint32)

    @property
    def ids(self) -> npt.NDArray[np.bytes_]:
        """Give each rank's document id."""
        return open_array(self.folder / "id_of_rank", "S16")


def rank(work: Work, surveyed: Survey, *, share_bytes: int, into: str) -> Ranks:
    """Put the documents of a survey in the order in which they are kept."""
    ranges = key_ranges(surveyed.keys, "key", 1 + surveyed.num_documents * SORTED_KEY_BYTES // share_bytes)
    work.produce(
        partial(_rank_range, runs=surveyed.keys),
        ranges,
        name=lambda task: task.name,
        description="deduplicate: ranks",
        unit="ranges",
        into=into,
    )
    ranks = Ranks(work.folder / into)
    of_row = new_array(ranks.folder / "rank_of_row", surveyed.num_rows, np.uint32, fill=NONE)
    rows = new_array(ranks.folder / "row_of_rank", surveyed.num_documents, np.uint32)
    ids = new_array(ranks.folder / "id_of_rank", surveyed.num_documents, "S16")
    first = 0
    for task in ranges:
        ordered, names = gathered([Run(ranks.folder / f"ranked-{task.name}")], ["rows", "id"])
        end = first + len(ordered)
        rows[first:end], ids[first:end] = ordered, names
        of_row[ordered] = np.arange(first, end, dtype=np.uint32)
        first = end
    assert first == surveyed.num_documents, (first, surveyed.num_documents)
    return ranks


def _rank_range(task: Range, folder: Path, *, runs: Sequence[Run]) -> Facts:
    """Sort the keys of one range; runs in a worker."""
    keys, rows = gathered(runs, ["key", "row"], task.low, task.high)
    order = np.argsort(keys, kind="stable")
    write_columns(folder / f"ranked-{task.name}", {"rows": rows[order], "id": ids_in(keys[order])})
    return {}
