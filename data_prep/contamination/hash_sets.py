"""Sets of 64-bit hashes that millions of values are looked up in at once, and lists of owners behind each hash."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.contamination.joined_texts import Places, Words

# Of the small table asked first; eight marks to a byte. Larger ones no longer fit into a cache.
_FEWEST_BITS, _MOST_BITS = 12, 25
_BYTES_PER_HASH = 2  # so that about one value in sixteen passes by chance


@dataclass(frozen=True)
class HashSet:
    """Sorted distinct hashes; a value is looked for among them only where a table of marks lets it pass."""

    hashes: Words
    marks: npt.NDArray[np.uint8]
    buckets: npt.NDArray[np.int32]  # where the hashes of each value of their first bits begin, and where the last end

    def find(self, values: Words) -> tuple[Places, Places]:
        """Give the places of the values that are in the set, and the slot of each."""
        place, mark = _place_and_mark(self.marks, values)
        places = np.flatnonzero((self.marks[place] & mark) != 0)
        bucket = values[places] >> _shift(self.buckets)
        slots, ends = self.buckets[bucket].astype(np.int64), self.buckets[bucket + np.uint64(1)]
        waiting = np.flatnonzero(slots < ends)
        found = np.zeros(len(places), bool)
        while len(waiting):  # as often as the fullest bucket has hashes: about ten times, and soon for few
            is_equal = self.hashes[slots[waiting]] == values[places[waiting]]
            found[waiting[is_equal]] = True
            waiting = waiting[~is_equal]
            slots[waiting] += 1
            waiting = waiting[slots[waiting] < ends[waiting]]
        return places[found], slots[found]


def hash_set(values: Words) -> HashSet:
    """Build a set."""
    hashes = distinct(values)
    marks = np.zeros(1 << _bits(len(hashes) * _BYTES_PER_HASH, _MOST_BITS), np.uint8)
    place, mark = _place_and_mark(marks, hashes)
    np.bitwise_or.at(marks, place, mark)
    starts = np.arange(1 << _bits(len(hashes), 32), dtype=np.uint64)
    first_hashes = starts << np.uint64(64 - (len(starts).bit_length() - 1))
    buckets = np.append(np.searchsorted(hashes, first_hashes), len(hashes)).astype(np.int32)
    return HashSet(hashes, marks, buckets)


def _bits(size: int, most: int) -> int:
    return min(max((size - 1).bit_length(), _FEWEST_BITS), most)


def _shift(buckets: npt.NDArray[np.int32]) -> np.uint64:
    return np.uint64(64 - ((len(buckets) - 1).bit_length() - 1))


def _place_and_mark(marks: npt.NDArray[np.uint8], values: Words) -> tuple[Places, npt.NDArray[np.uint8]]:
    top = (values >> np.uint64(64 - 3 - (len(marks).bit_length() - 1))).view(np.int64)
    return top >> 3, _MARKS[top & 7]


_MARKS = np.array([1 << number for number in range(8)], np.uint8)


@dataclass(frozen=True)
class Owners:
    """For each slot of a set the numbers of those who have that hash, one list after the other."""

    starts: Places
    numbers: npt.NDArray[np.int32]

    def of(self, slots: Places) -> tuple[Places, npt.NDArray[np.int32]]:
        """Give for all owners of all slots together: which of the slots, and the owner."""
        counts = self.starts[slots + 1] - self.starts[slots]
        which = np.repeat(np.arange(len(slots)), counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        return which, self.numbers[self.starts[slots][which] + within]

    def of_one(self, slot: int) -> npt.NDArray[np.int32]:
        """Give the owners of one slot."""
        return self.numbers[self.starts[slot] : self.starts[slot + 1]]


def owners_of(hashes: HashSet, values: Words, numbers: Places) -> Owners:
    """List the owners of each hash, in order and each once; `values` are all in the set."""
    slots = np.searchsorted(hashes.hashes, values)
    pairs = distinct((slots.astype(np.uint64) << np.uint64(32)) | numbers.astype(np.uint64))
    starts = np.searchsorted(pairs, np.arange(len(hashes.hashes) + 1, dtype=np.uint64) << np.uint64(32))
    return Owners(starts.astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int32))


def distinct(values: Words) -> Words:
    """Sort values and leave out repetitions."""
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered
