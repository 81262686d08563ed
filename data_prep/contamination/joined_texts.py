"""Many texts in one buffer, and 64-bit hashes of the words and windows in it, made without a loop over characters.

Hashes only say where a look is worth while. Two equal strings always have equal hashes, so nothing is missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

SEPARATOR = b"\xff"  # no UTF-8 text holds this byte
PADDING = 64  # so that eight bytes can be read at any place of a word's first LONGEST
LONGEST = 64  # of a word: what follows is told apart only by its length
BATCH_BYTES = 1 << 20  # few enough for the arrays to stay in the processor's cache

_ODD = np.uint64(0x9E3779B97F4A7C15)
_OTHER_ODD = np.uint64(0xC2B2AE3D27D4EB4F)
_SHIFT = np.uint64(29)
# The first 0 to 8 bytes of a little-endian word.
_FIRST_BYTES = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)


@dataclass(frozen=True)
class JoinedTexts:
    """Texts as bytes, each followed by a separator; `starts` holds where each begins, and where the last ends."""

    data: bytes
    starts: Places

    def owners(self, places: Places) -> Places:
        """Tell for each of ascending places in the buffer which text it lies in."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(np.searchsorted(places, self.starts)))

    def text(self, number: int) -> bytes:
        """Give one text."""
        return self.data[self.starts[number] : self.starts[number + 1] - 1]


def join_texts(texts: Sequence[bytes]) -> JoinedTexts:
    """Put texts into one buffer that begins and ends with separators."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    starts = np.concatenate([[1], 1 + np.cumsum(lengths)])
    return JoinedTexts(SEPARATOR + SEPARATOR.join(texts) + SEPARATOR * (1 + PADDING), starts)


def batches(texts: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Cut a sequence of texts into runs of about BATCH_BYTES, each with the number of its first text."""
    first = size = 0
    for number, text in enumerate(texts):
        size += len(text)
        if size >= BATCH_BYTES:
            yield first, texts[first : number + 1]
            first, size = number + 1, 0
    if first < len(texts):
        yield first, texts[first:]


def hash_runs(data: bytes, starts: Places, lengths: Places) -> Words:
    """Hash each run of bytes by its first LONGEST bytes and its length."""
    eight = np.ndarray((len(data) - 7,), "<u8", buffer=data, strides=(1,))  # the eight bytes from each place on
    values = eight[starts] & _FIRST_BYTES[np.minimum(lengths, 8)]
    values = mixed(values * _ODD + lengths.astype(np.uint64) * _OTHER_ODD)
    longer, offset = np.flatnonzero(lengths > 8), 8
    while len(longer) and offset < LONGEST:
        rest = lengths[longer] - offset
        chunk = eight[starts[longer] + offset] & _FIRST_BYTES[np.minimum(rest, 8)]
        values[longer] = mixed((values[longer] ^ chunk) * _OTHER_ODD)
        longer, offset = longer[rest > 8], offset + 8
    return values


def mixed(values: Words) -> Words:
    """Let the high bits of products reach the low ones."""
    values ^= values >> _SHIFT
    values *= _ODD
    values ^= values >> _SHIFT
    return values


def hash_ngrams(values: Words, length: int) -> Words:
    """Hash every run of `length` consecutive values: a polynomial, put together from runs of half the length."""
    if len(values) < length:
        return values[:0]
    result, covered = values, 1
    for bit in bin(length)[3:]:
        count = len(values) - 2 * covered + 1
        result = result[:count] * power(covered) + result[covered : covered + count]
        covered *= 2
        if bit == "1":
            result = result[: len(values) - covered] * power(1) + values[covered:]
            covered += 1
    return result


def power(exponent: int) -> np.uint64:
    """Give the polynomial's multiplier to a power, modulo 2 ** 64."""
    return np.uint64(pow(int(_OTHER_ODD), exponent, 1 << 64))
