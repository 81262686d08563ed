"""Hashes of the word n-grams and of the windows of letters of joined texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.contamination.items import FEWEST_LETTERS, LOWER, WORD, letters
from data_prep.contamination.joined_texts import (
    PADDING,
    SEPARATOR,
    JoinedTexts,
    Places,
    Words,
    hash_ngrams,
    hash_runs,
)

_IS_WORD = bytes(int(WORD.match(bytes([byte])) is not None) for byte in range(256))
_MULTIPLIERS = [
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)
]
assert 8 * len(_MULTIPLIERS) == FEWEST_LETTERS, "a window is hashed eight letters at a time"


@dataclass(frozen=True)
class NGrams:
    """Every run of words, also those that run over the end of a text."""

    length: int
    hashes: Words
    owners: Places  # the text of each word
    letters: Places  # that the words before each word have together, and at the end all

    def telling(self) -> Places:
        """Give the places of the runs that lie in one text and are more than a row of short words or numbers."""
        last = self.length - 1
        is_inside = self.owners[: len(self.hashes)] == self.owners[last : last + len(self.hashes)]
        num_letters = self.letters[self.length :] - self.letters[: len(self.hashes)]
        return np.flatnonzero(is_inside & (num_letters >= FEWEST_LETTERS))


def ngrams_of(texts: JoinedTexts, length: int) -> NGrams:
    """Hash every run of `length` words."""
    kinds = np.frombuffer(texts.data.translate(_IS_WORD), np.uint8)
    edges = np.flatnonzero(kinds[1:] != kinds[:-1]) + 1
    starts, ends = edges[0::2], edges[1::2]
    values = hash_runs(texts.data.translate(LOWER), starts, ends - starts)
    letters_before = np.concatenate([[0], np.cumsum(ends - starts)])
    return NGrams(length, hash_ngrams(values, length), texts.owners(starts), letters_before)


@dataclass(frozen=True)
class Windows:
    """The letters of joined texts, and the hash of each FEWEST_LETTERS of them from every place on."""

    letters: bytes
    hashes: Words

    def owners(self, places: Places) -> Places:
        """Tell which text each place lies in, whatever their order."""
        ends = np.flatnonzero(np.frombuffer(self.letters, np.uint8) == SEPARATOR[0])
        return np.searchsorted(ends, places) - 1


def windows_of(texts: JoinedTexts) -> Windows:
    """Hash every window of letters, also those that run over the end of a text."""
    found = letters(texts.data)
    eight = np.ndarray((len(found) - 7,), "<u8", buffer=found, strides=(1,))
    count = len(found) - FEWEST_LETTERS + 1
    hashes = np.zeros(count, np.uint64)
    for number, multiplier in enumerate(_MULTIPLIERS):
        hashes += eight[8 * number : 8 * number + count] * multiplier
    return Windows(found, hashes)


assert PADDING >= FEWEST_LETTERS, "so that the last text's windows exist"
