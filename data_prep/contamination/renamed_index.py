"""Solutions as sets of runs of tokens, and which stretches of documents hold enough of one to be compared with it.

A window whose similarity to a solution of n distinct runs reaches t holds at least t·n of them. So of any set of more
than (1 - t)·n of them it holds at least one, and of a set larger by k at least 1 + k: only the rarest are looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.contamination.hash_sets import HashSet, Owners, distinct, hash_set, owners_of
from data_prep.contamination.items import FEWEST_GRAMS, Item
from data_prep.contamination.joined_texts import Places, batches, join_texts
from data_prep.contamination.renaming import grams_of

SPARE = 0.15  # of a solution's runs; measured: fewer give more stretches to compare, more cost more to count


@dataclass(frozen=True)
class RenamedIndex:
    """Solutions of at least FEWEST_GRAMS distinct runs of tokens."""

    similarity: float
    runs: HashSet
    items: Places  # of each solution
    solutions: Owners  # of each solution its runs, by their slots: a solution is the slot here
    window: Places  # runs of each solution, repetitions counted
    needed: Places  # how many of its runs a similar window holds
    rare: Owners  # of each run the solutions that are looked for by it
    rare_needed: Places  # how many of those runs a similar window holds


def renamed_index(items: Sequence[Item], similarity: float, sample: Sequence[bytes]) -> RenamedIndex:
    """Index the items' solutions; how often a run occurs in `sample` says how rare it is."""
    texts = [solution.encode() for item in items for solution in item.solutions]
    owners = np.array([number for number, item in enumerate(items) for _ in item.solutions], np.int64)
    hashes, numbers, window = _long_enough(texts)
    kept = np.flatnonzero(window)
    numbers, window, owners = np.searchsorted(kept, numbers), window[kept], owners[kept]
    runs = hash_set(hashes)
    slots = np.searchsorted(runs.hashes, hashes)
    pairs = distinct((numbers.astype(np.uint64) << np.uint64(32)) | slots.astype(np.uint64))
    numbers, slots = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    starts = np.searchsorted(numbers, np.arange(len(kept) + 1))
    needed = np.ceil(np.diff(starts) * similarity - 1e-9).astype(np.int64)
    is_rare, rare_needed = _rarest(_frequencies(runs, sample)[slots], starts, needed)
    rare = owners_of(runs, runs.hashes[slots[is_rare]], numbers[is_rare])
    solutions = Owners(starts, slots.astype(np.int32))
    return RenamedIndex(similarity, runs, owners, solutions, window, needed, rare, rare_needed)


def _long_enough(texts: Sequence[bytes]) -> tuple[npt.NDArray[np.uint64], Places, Places]:
    """Give the runs of the texts that have enough distinct ones, whose they are, and how many each text has, else 0."""
    hashes, numbers, window = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], np.zeros(len(texts), np.int64)
    for first, batch in batches(texts):
        grams = grams_of(join_texts(batch))
        edges = np.searchsorted(grams.owners, np.arange(len(batch) + 1))
        for number, (start, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            if end - start >= FEWEST_GRAMS and len(distinct(grams.hashes[start:end])) >= FEWEST_GRAMS:
                hashes.append(grams.hashes[start:end])
                numbers.append(np.full(end - start, first + number))
                window[first + number] = end - start
    return np.concatenate(hashes), np.concatenate(numbers), window


def _frequencies(runs: HashSet, sample: Sequence[bytes]) -> Places:
    """Count how often each run occurs in the sample."""
    counts = np.zeros(len(runs.hashes), np.int64)
    for _, batch in batches(sample):
        _, slots = runs.find(grams_of(join_texts(batch)).hashes)
        counts += np.bincount(slots, minlength=len(counts))
    return counts


def _rarest(frequencies: Places, starts: Places, needed: Places) -> tuple[npt.NDArray[np.bool_], Places]:
    """Choose of each solution the runs to look for, and say how many of them a similar window holds."""
    is_rare = np.zeros(len(frequencies), bool)
    rare_needed = np.minimum(1 + (SPARE * np.diff(starts)).astype(np.int64), needed)
    for number, (start, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        count = end - start - needed[number] + rare_needed[number]
        is_rare[start + np.argsort(frequencies[start:end], kind="stable")[:count]] = True
    return is_rare, rare_needed
