"""Stretches of documents that are a benchmark's solution under other names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_prep.contamination.joined_texts import JoinedTexts, Places, Words
from data_prep.contamination.renamed_index import RenamedIndex
from data_prep.contamination.renaming import Grams, grams_of

_PLACE_BITS = np.uint64(40)


@dataclass(frozen=True)
class RenamedCopy:
    """The window of a text that is most like a solution, from the first byte of its first run to that of its last."""

    text: int
    solution: int
    similarity: float
    first_place: int
    last_place: int


def renamed_copies(texts: JoinedTexts, index: RenamedIndex) -> list[RenamedCopy]:
    """Give for every text and solution the most similar window, where it is similar enough."""
    grams = grams_of(texts)
    places, slots = index.runs.find(grams.hashes)
    best: dict[tuple[int, int], RenamedCopy] = {}
    for solution, first, last in _holding_enough(index, places, slots, *_promising(index, places, slots)):
        for copy in _copies(grams, index, solution, first, last):
            if (known := best.get((copy.text, solution))) is None or copy.similarity > known.similarity:
                best[copy.text, solution] = copy
    return [best[key] for key in sorted(best)]


def _promising(index: RenamedIndex, places: Places, slots: Places) -> tuple[Places, Places, Places]:
    """Give solutions, and the first and last of neighbouring places where a window with enough rare runs may begin.

    If such a window's first rare run is the i-th, it reaches to the one that makes them enough, and ends behind it.
    """
    which, numbers = index.rare.of(slots)
    few = len(index.window) <= 1 << 16  # then the order is found by counting
    order = np.argsort(numbers.astype(np.uint16) if few else numbers, kind="stable")  # places stay in order
    solution, place = numbers[order].astype(np.int64), places[which[order]]
    other = np.arange(len(order)) + index.rare_needed[solution] - 1
    is_there = np.flatnonzero(other < len(order))
    solution, first, other = solution[is_there], place[is_there], other[is_there]
    start = place[other] - index.window[solution] + 1
    enough = (numbers[order[other]] == solution) & (start <= first)
    solution, start, first = solution[enough], np.maximum(start[enough], 0), first[enough]
    begins = np.ones(len(solution), bool)
    begins[1:] = (solution[1:] != solution[:-1]) | (start[1:] > first[:-1] + 1)
    ends = np.append(begins[1:], True)[: len(begins)]
    return solution[begins], start[begins], first[ends]


def _holding_enough(
    index: RenamedIndex, places: Places, slots: Places, solutions: Places, first: Places, last: Places
) -> Iterator[tuple[int, int, int]]:
    """Leave out the stretches that hold too few of all the solution's runs."""
    found = np.append(np.sort((slots.astype(np.uint64) << _PLACE_BITS) | places.astype(np.uint64)), ~np.uint64(0))
    which, runs = index.solutions.of(solutions)
    high = runs.astype(np.uint64) << _PLACE_BITS
    begin, end = first.astype(np.uint64), (last + index.window[solutions]).astype(np.uint64)
    is_held = found[np.searchsorted(found, high | begin[which])] < high | end[which]
    held = np.bincount(which[is_held], minlength=len(solutions))
    for number in np.flatnonzero(held >= index.needed[solutions]).tolist():
        yield int(solutions[number]), int(first[number]), int(last[number])


def _copies(grams: Grams, index: RenamedIndex, solution: int, first: int, last: int) -> Iterator[RenamedCopy]:
    """Compare a solution with the windows that begin from `first` to `last`, each inside its text.

    A text shorter than the window is one itself.
    """
    window = int(index.window[solution])
    runs = index.runs.hashes[index.solutions.of_one(solution)]
    for text in dict.fromkeys(grams.owners[first : last + window].tolist()):
        begin, finish = np.searchsorted(grams.owners, [text, text + 1]).tolist()
        low, high = max(first, begin), min(last, max(begin, finish - window))
        if low > high:
            continue
        end = min(high + window, finish)
        similarity = window_similarities(grams.hashes[low:end], runs, window)
        at = int(similarity.argmax())
        if similarity[at] >= index.similarity:
            final = min(low + at + window, end) - 1
            yield RenamedCopy(
                text, solution, float(similarity[at]), int(grams.places[low + at]), int(grams.places[final])
            )


def window_similarities(hashes: Words, runs: Words, window: int) -> np.ndarray:
    """Give the Jaccard similarity of a solution's distinct sorted runs with every window of that many runs."""
    num_windows = max(len(hashes) - window + 1, 1)
    earlier = _earlier(hashes)
    slots = np.minimum(np.searchsorted(runs, hashes), len(runs) - 1)
    shared = _distinct_in_windows(earlier, runs[slots] == hashes, window, num_windows)
    every = _distinct_in_windows(earlier, np.ones(len(hashes), bool), window, num_windows)
    return shared / (len(runs) + every - shared)


def _earlier(hashes: Words) -> Places:
    """Give for each place the last place before it with the same hash, or -1."""
    order = np.argsort(hashes, kind="stable")
    is_same = hashes[order][1:] == hashes[order][:-1]
    earlier = np.full(len(hashes), -1)
    earlier[order[1:][is_same]] = order[:-1][is_same]
    return earlier


def _distinct_in_windows(earlier: Places, counts: np.ndarray, window: int, num_windows: int) -> Places:
    """Count the distinct marked hashes of every window: each is counted where it stands first."""
    places = np.flatnonzero(counts)
    first = np.maximum(places - window, earlier[places]) + 1  # the first window that counts this place, and the last
    first, last = np.maximum(first, 0), np.minimum(places, num_windows - 1)
    is_counted = first <= last
    changes = np.zeros(num_windows + 1, np.int64)
    np.add.at(changes, first[is_counted], 1)
    np.add.at(changes, last[is_counted] + 1, -1)
    return np.cumsum(changes)[:-1]
