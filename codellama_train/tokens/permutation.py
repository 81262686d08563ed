"""The order of documents in an epoch: a keyed bijection, so that no list of all documents is ever held or stored."""

from __future__ import annotations

import struct
from hashlib import blake2b
from math import isqrt

ROUNDS = 4
WORD = (1 << 64) - 1


class Permutation:
    """A random order of `range(size)`, another one for every seed, source and epoch.

    A Feistel network over a rectangle of rows and columns that is hardly larger than `size`; an image outside the range
    is shuffled again until it falls inside (cycle walking), which keeps the map a bijection.
    """

    def __init__(self, size: int, *, seed: int, source: str, epoch: int) -> None:
        if size < 1:
            raise ValueError(f"a permutation has at least one place, not {size}")
        self.size = size
        self._columns = isqrt(size - 1) + 1
        self._rows = -(-size // self._columns)
        digest = blake2b(source.encode(), key=f"{seed}:{epoch}".encode(), person=b"order").digest()
        self._keys: tuple[int, ...] = struct.unpack(f"<{2 * ROUNDS}Q", digest)

    def __call__(self, index: int) -> int:
        """Give the document that stands at place `index` of the order."""
        if not 0 <= index < self.size:
            raise IndexError(f"place {index} of an order of {self.size}")
        image = self._shuffle(index)
        while image >= self.size:
            image = self._shuffle(image)
        return image

    def _shuffle(self, index: int) -> int:
        row, column = divmod(index, self._columns)
        for turn in range(ROUNDS):
            row = (row + mix(column ^ self._keys[2 * turn])) % self._rows
            column = (column + mix(row ^ self._keys[2 * turn + 1])) % self._columns
        return row * self._columns + column


def mix(word: int) -> int:
    """Scatter 64 bits: the finaliser of SplitMix64."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
    return word ^ (word >> 31)
