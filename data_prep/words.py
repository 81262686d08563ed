"""What near-duplicate search and decontamination call a word, and runs of words.

A word is a run of letters, digits, underscores and non-ASCII characters (BigCode's rule, made the same in every regular
expression engine). Everything else only separates, so reformatting does not hide a copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Spelt out, since what \W means depends on the engine and on Unicode's version.
SEPARATOR = re.compile(r"[\x00-/:-@\[-^`{-\x7f]")
WORD = re.compile(r"[^\x00-/:-@\[-^`{-\x7f]+")


def words_of(text: str) -> list[str]:
    """Give the words of a text in order."""
    return WORD.findall(text)


def num_words(text: str) -> int:
    """Count the words of a text."""
    return len(WORD.findall(text))


def ngrams(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    """Give every run of `length` consecutive words."""
    return zip(*(words[start:] for start in range(length)), strict=False)
