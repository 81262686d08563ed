"""Tokens of source code whose names do not matter: what a renamed copy has in common with its original.

A rule of thumb for all languages, not a parser. A token is a word or one punctuation character; all quotes are alike;
white space separates, comments and triple-quoted texts are left out. A token that can be renamed counts, inside a run
of a few tokens, only by where in the run it appeared before. Numbers, keywords and called built-in functions stay.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from data_prep.contamination.comments import comment_spans
from data_prep.contamination.fixed_names import BUILT_IN, KEYWORDS
from data_prep.contamination.joined_texts import JoinedTexts, Places, Words, hash_ngrams, hash_runs, join_texts, mixed

GRAM_TOKENS = 5
_PARENTHESIS = b"("[0]

BLANK, WORD, PUNCTUATION = 0, 1, 2
_KINDS = bytes(
    WORD if re.match(rb"[0-9A-Za-z_\x80-\xfe]", bytes([byte])) else PUNCTUATION if 33 <= byte < 127 else BLANK
    for byte in range(256)
)
_QUOTES_ALIKE = bytes.maketrans(b"'`", b'""')
_IS_DIGIT = np.array([48 <= byte < 58 for byte in range(256)])


@dataclass(frozen=True)
class Grams:
    """Every run of GRAM_TOKENS tokens of one text each: its hash, the text, and the place of its first byte."""

    hashes: Words
    owners: Places
    places: Places


def grams_of(texts: JoinedTexts) -> Grams:
    """Give the runs of tokens of many texts, in order."""
    starts, lengths = _tokens(texts)
    values = hash_runs(texts.data.translate(_QUOTES_ALIKE), starts, lengths)
    can_be_renamed = _can_be_renamed(texts.data, starts, values)
    # A name that stays in one place may be another's in the next: `sum = sum(values)`.
    hashes = _renamed_hashes(np.where(can_be_renamed, values, ~values), can_be_renamed)
    owners = texts.owners(starts)
    last = GRAM_TOKENS - 1
    inside = np.flatnonzero(owners[: len(hashes)] == owners[last : last + len(hashes)])
    return Grams(hashes[inside], owners[inside], starts[inside])


def _tokens(texts: JoinedTexts) -> tuple[Places, Places]:
    """Give where tokens start, and how long they are."""
    kinds = np.frombuffer(texts.data.translate(_KINDS), np.uint8) * ~_is_comment(texts)
    is_word = kinds == WORD
    begins, ends = is_word[1:] & ~is_word[:-1], is_word[:-1] & ~is_word[1:]
    starts = np.flatnonzero(begins | (kinds[1:] == PUNCTUATION)) + 1
    lengths = np.ones(len(starts), np.int64)
    words = np.flatnonzero(is_word[starts])
    lengths[words] = np.flatnonzero(ends) + 1 - starts[words]
    return starts, lengths


def _is_comment(texts: JoinedTexts) -> npt.NDArray[np.bool_]:
    edges = np.stack(comment_spans(texts.data), axis=1).ravel()
    lengths = np.diff(np.concatenate([[0], edges, [len(texts.data)]]))
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


@dataclass(frozen=True)
class NameTable:
    """Hashes of names, each in a place of its own that some of its bits give, so that one look says if it is there."""

    hashes: Words
    shift: np.uint64

    def holds(self, values: Words) -> npt.NDArray[np.bool_]:
        """Tell which of the values are among the hashes."""
        held: npt.NDArray[np.bool_] = self.hashes[self.places(values)] == values
        return held

    def places(self, values: Words) -> Words:
        """Give the only place at which each value may stand."""
        places: Words = (values >> self.shift) & np.uint64(len(self.hashes) - 1)
        return places


def _table_of(names: Collection[str]) -> NameTable:
    """Find the smallest table in which no two names share a place."""
    texts = join_texts([name.encode() for name in sorted(names)])
    hashes = hash_runs(texts.data, texts.starts[:-1], np.diff(texts.starts) - 1)
    for bits, shift in product(range(8, 32), range(0, 33, 4)):
        table = NameTable(np.zeros(1 << bits, np.uint64), np.uint64(shift))
        table.hashes[table.places(hashes)] = hashes
        if np.count_nonzero(table.hashes) == len(names):
            break
    return table


_KEYWORDS, _BUILT_IN = _table_of(KEYWORDS), _table_of(BUILT_IN)


def _can_be_renamed(data: bytes, starts: Places, values: Words) -> npt.NDArray[np.bool_]:
    first = np.frombuffer(data, np.uint8)[starts]
    is_name: npt.NDArray[np.bool_] = (np.frombuffer(_KINDS, np.uint8)[first] == WORD) & ~_IS_DIGIT[first]
    is_called = np.zeros(len(values), bool)
    is_called[:-1] = first[1:] == _PARENTHESIS
    can_be_renamed: npt.NDArray[np.bool_] = is_name & ~_KEYWORDS.holds(values) & ~(is_called & _BUILT_IN.holds(values))
    return can_be_renamed


def _renamed_hashes(values: Words, can_be_renamed: npt.NDArray[np.bool_]) -> Words:
    """Hash every run of tokens with each name told by how many tokens before it the run last had it, if at all."""
    distance = np.zeros(len(values), np.uint8)  # of a name to the last equal one, 0 where that is too far
    for lag in range(GRAM_TOKENS - 1, 0, -1):
        np.copyto(distance[lag:], lag, where=values[lag:] == values[:-lag])
    distance *= can_be_renamed
    hashes = hash_ngrams(np.where(can_be_renamed, _ANY_NAME, values), GRAM_TOKENS)
    pattern = np.zeros(len(hashes), np.uint16)
    for position in range(1, GRAM_TOKENS):
        inside = distance * (distance <= position)  # an equal name before the run's beginning says nothing
        pattern += inside[position : position + len(hashes)] * np.uint16(GRAM_TOKENS ** (position - 1))
    return mixed(hashes ^ _PATTERN_VALUES[pattern])


_ANY_NAME = np.uint64(0xD6E8FEB86659FD93)
_PATTERN_VALUES = mixed(np.arange(1, GRAM_TOKENS ** (GRAM_TOKENS - 1) + 1, dtype=np.uint64) * _ANY_NAME)
