"""The words of many texts at once, as buffers of bytes: what near-duplicate search hashes instead of strings.

The words are those of `words.py`: every separator is ASCII, so they can be told byte by byte, in any text of UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.words import SEPARATOR

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]

SPACE = 0x20
TO_SPACES = bytes(SPACE if SEPARATOR.fullmatch(chr(byte)) else byte for byte in range(128)) + bytes(range(128, 256))


@dataclass(frozen=True)
class WordBuffers:
    """A batch of texts, one after another, with every separator made a space, and where their words are.

    Word i is `data[starts[i]:ends[i]]`, and text t has the words `text_offsets[t]` to `text_offsets[t + 1]`.
    """

    data: Bytes
    is_letter: npt.NDArray[np.bool_]
    starts: Offsets
    ends: Offsets
    text_offsets: Offsets

    @property
    def num_words(self) -> Offsets:
        """Count the words of each text."""
        return np.diff(self.text_offsets)

    def words(self) -> pa.Array:
        """Give all words of all texts in order."""
        return _strings(self.data[self.is_letter], _sums(self.ends - self.starts))

    def spaced(self) -> pa.Array:
        """Give each text as its words with one space between them, as Daft's MinHash wants it."""
        has_space = np.ones(len(self.starts), dtype=bool)  # in front of every word but the first of a text
        has_space[self.text_offsets[:-1][self.num_words > 0]] = False
        is_kept = self.is_letter.copy()
        is_kept[self.starts[has_space] - 1] = True
        return _strings(self.data[is_kept], _sums(self.ends - self.starts + has_space)[self.text_offsets])


def word_buffers(texts: pa.Array) -> WordBuffers:
    """Cut a batch of texts into words."""
    texts = texts.cast(pa.large_string())
    _, offsets_buffer, buffer = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    first, last = (int(offsets[0]), int(offsets[-1])) if len(texts) else (0, 0)
    raw = buffer.slice(first, last - first).to_pybytes() if buffer is not None and last > first else b""
    data = np.frombuffer(raw.translate(TO_SPACES), np.uint8)
    is_letter = data != SPACE
    begins = _begins(is_letter, offsets - first)
    goes_on = np.zeros(len(data), dtype=bool)
    goes_on[:-1] = is_letter[1:] & ~begins[1:]
    starts = np.flatnonzero(begins)
    ends = np.flatnonzero(is_letter & ~goes_on) + 1
    return WordBuffers(data, is_letter, starts, ends, np.searchsorted(starts, offsets - first))


def _begins(is_letter: npt.NDArray[np.bool_], offsets: Offsets) -> npt.NDArray[np.bool_]:
    """Mark the letters that follow a separator or begin a text."""
    begins = is_letter.copy()
    begins[1:] &= ~is_letter[:-1]
    borders = offsets[:-1][offsets[:-1] < len(is_letter)]
    begins[borders] = is_letter[borders]  # where one text ends with a word and the next begins with one
    return begins


def _sums(lengths: Offsets) -> Offsets:
    """Give the sums of the lengths before each place, and of all."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))


def _strings(data: Bytes, offsets: Offsets) -> pa.Array:
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int64)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)
