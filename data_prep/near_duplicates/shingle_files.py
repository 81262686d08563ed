"""The n-gram sets of the documents that some pair names, in files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.near_duplicates.columns import Column, open_array, open_columns, write_columns
from data_prep.near_duplicates.minhash import Hashes
from data_prep.near_duplicates.shingles import BITS, ShingleSets, bitmaps, shingle_sets
from data_prep.near_duplicates.survey import Group, Survey
from data_prep.near_duplicates.word_buffers import word_buffers
from data_prep.parts import documents_of, only
from data_prep.work import Facts, Work

PARTS_PER_TASK = 16
WORDS = BITS // 64  # of 64 bits, of a bitmap


@dataclass(frozen=True)
class Sets:
    """The sets of some documents, each read once however often it is named: `place_of` says where it is."""

    records: list[Hashes]  # of a document its bitmap, then its hashes
    place_of: npt.NDArray[np.int64]

    @property
    def bitmaps(self) -> Hashes:
        """Give each document's bitmap."""
        bitmaps: Hashes = np.stack([record[:WORDS] for record in self.records])
        return bitmaps[self.place_of]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Count the n-grams of each document."""
        sizes = np.array([len(record) - WORDS for record in self.records], np.int64)
        return sizes[self.place_of]

    def hashes(self, index: int) -> Hashes:
        """Give one set."""
        hashes: Hashes = self.records[self.place_of[index]][WORDS:]
        return hashes


@dataclass(frozen=True)
class ShingleFiles:
    """Two files per group of parts, the sets and where each begins, and the row of each group's first document."""

    paths: tuple[Path, ...]
    first_rows: tuple[int, ...]

    def sets_of(self, rows: Column) -> Sets:
        """Read the set of each row's document.

        They are read, not mapped: each look at a set in a mapped file would make 64 kB around it our memory.
        """
        different, place_of = np.unique(rows, return_inverse=True)
        group_of = np.searchsorted(self.first_rows, different, side="right") - 1
        records: list[Hashes] = []
        for group in np.unique(group_of).tolist():  # rows are sorted, so groups come in order too
            columns = open_columns(self.paths[group])
            places = np.searchsorted(columns["row"], different[group_of == group] - self.first_rows[group])
            with _sets_beside(self.paths[group]).open("rb", buffering=0) as file:
                for start, end in zip(columns["start"][places], columns["start"][places + 1], strict=True):
                    data = os.pread(file.fileno(), 8 * int(end - start), 8 * int(start))
                    records.append(np.frombuffer(data, np.uint64))
        return Sets(records, place_of)


def _sets_beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sets")


def write_shingles(work: Work, surveyed: Survey, named: Path, *, ngram_words: int, into: str) -> ShingleFiles:
    """Write the sets of the documents that the array `named` marks by row."""
    groups = surveyed.groups(PARTS_PER_TASK)
    work.produce(
        partial(_write_group, run_dir=surveyed.run_dir, named=named, ngram_words=ngram_words),
        groups,
        name=lambda task: task.name,
        description="deduplicate: n-grams of candidates",
        unit="parts",
        size=lambda task: len(task.parts),
        into=into,
    )
    paths = tuple(work.folder / into / group.name for group in groups)
    return ShingleFiles(paths, tuple(group.first_row for group in groups))


def _write_group(group: Group, folder: Path, *, run_dir: Path, named: Path, ngram_words: int) -> Facts:
    """Write one group's sets; runs in a worker."""
    is_named = open_array(named, np.bool_)
    rows: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    sizes: list[npt.NDArray[np.int64]] = [np.zeros(1, np.int64)]
    first = group.first_row
    with _sets_beside(folder / group.name).open("wb") as file:
        for part in group.parts:
            texts = documents_of(run_dir, part, ["text"])
            chosen = np.asarray(is_named[first : first + len(texts)])
            if chosen.any():
                sets = shingle_sets(word_buffers(only(texts, chosen)["text"].combine_chunks()), ngram_words)
                file.write(_records(sets))
                rows.append(np.flatnonzero(chosen) + (first - group.first_row))
                sizes.append(np.diff(sets.offsets) + WORDS)
            first += len(texts)
    write_columns(folder / group.name, {"row": np.concatenate(rows), "start": np.cumsum(np.concatenate(sizes))})
    return {}


def _records(sets: ShingleSets) -> bytes:
    """Put each set behind its bitmap."""
    sizes = np.diff(sets.offsets)
    records = np.empty(len(sets.hashes) + WORDS * len(sizes), np.uint64)
    starts = sets.offsets[:-1] + WORDS * np.arange(len(sizes))
    is_bitmap = np.zeros(len(records), dtype=bool)
    is_bitmap[(starts[:, None] + np.arange(WORDS)).ravel()] = True
    records[is_bitmap] = bitmaps(sets).ravel()
    records[~is_bitmap] = sets.hashes
    return records.tobytes()
