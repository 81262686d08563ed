"""Counts over a text's characters, words and lines, on whole arrays of bytes.

`one_byte_per_character` makes positions in the array positions in the text: Latin-1, and '?' for what is beyond it.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from data_prep.words import SEPARATOR

Bytes = npt.NDArray[np.uint8]
Spans = npt.NDArray[np.int64]  # (number of spans, 2): start and end

NON_ASCII = re.compile(r"[^\x00-\x7f]+")
ASCII = [chr(code) for code in range(128)]
IS_ALPHABETIC = np.array([character.isalpha() for character in ASCII])
IS_DIGIT = np.array([character.isdigit() for character in ASCII])
# What is part of a word, as data_prep/words.py has it: everything but ASCII punctuation and white space.
IS_WORD_BYTE = np.array([code >= 128 or SEPARATOR.match(chr(code)) is None for code in range(256)])


def one_byte_per_character(text: str) -> Bytes:
    """Give the text's characters as bytes, one each."""
    return np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8)


def character_fractions(text: str, data: Bytes) -> dict[str, float]:
    """Give the shares of letters, digits and both among a text's characters, as `str` has them."""
    counts = np.bincount(data, minlength=256)[:128]
    letters, digits = int(counts[IS_ALPHABETIC].sum()), int(counts[IS_DIGIT].sum())
    others = 0  # neither, as ½ is
    if not text.isascii():
        # What does not fit in a byte was counted as '?', which is neither letter nor digit.
        foreign = "".join(NON_ASCII.findall(text))
        letters += sum(map(str.isalpha, foreign))
        digits += sum(map(str.isdigit, foreign))
        others = sum(
            character.isalnum() and not character.isalpha() and not character.isdigit() for character in foreign
        )
    length = max(len(text), 1)
    return {
        "alphanumeric_fraction": (letters + digits + others) / length,
        "alphabetic_fraction": letters / length,
        "digit_fraction": digits / length,
    }


def count_words(data: Bytes) -> int:
    """Count runs of word bytes in UTF-8, which is what `data_prep.words.num_words` counts in text."""
    is_word = IS_WORD_BYTE[data]
    return int(np.count_nonzero(is_word[1:] > is_word[:-1])) + bool(len(data) and is_word[0])


def line_statistics(text: str) -> dict[str, float]:
    """Give the number of lines, the longest and the mean one in characters, and how many say what another says."""
    lines = text.splitlines() or [""]
    lengths = list(map(len, lines))
    stripped = list(filter(None, map(str.strip, lines)))
    return {
        "num_lines": len(lines),
        "longest_line": max(lengths),
        "mean_line": sum(lengths) / len(lines),
        "duplicate_line_fraction": 1 - len(set(stripped)) / len(stripped) if stripped else 0.0,
    }


def runs_of(is_member: npt.NDArray[np.bool_], min_length: int) -> Spans:
    """Give the longest runs of members that have at least `min_length`, as (start, end) in order."""
    outside = np.flatnonzero(~is_member)
    edges = np.concatenate(([-1], outside, [len(is_member)]))
    long = np.flatnonzero(np.diff(edges) > min_length)
    return np.stack([edges[long] + 1, edges[long + 1]], axis=1)
