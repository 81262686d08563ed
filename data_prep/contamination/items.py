"""A benchmark's items, and the minimum that a text must say before finding it means anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A text of fewer words says too little to be a copy: `return x + y` is everybody's. GPT-3's least n (appendix C).
FEWEST_WORDS = 8
# Letters and digits that any text looked for must have, and the length of the windows that are hashed to find them.
FEWEST_LETTERS = 32
# Different ones among them: `aaaa…` is nobody's.
FEWEST_DIFFERENT_LETTERS = 8
# Runs of tokens, without repetitions, of a solution that is looked for under other names. Measured on real code
# (docs/data_decontamination.md): with 15 idioms are found, from 20 on next to none.
FEWEST_GRAMS = 20
# What more than this many items of a benchmark have in common is its wrapping, not an item's. GPT-3 (appendix C)
# ignores n-grams found in more than ten *documents*; but of a benchmark public code holds far more copies than that.
MOST_ITEMS = 10

# Strongest first: the reason that a document is given is that of the first layer that hits.
LAYERS = ("exact", "ngram", "substring", "renamed")

LOWER = bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in range(256))
WHITE_SPACE = bytes([*range(9, 14), *range(28, 32), 32])
NOT_LETTERS = bytes(byte for byte in range(128) if not chr(byte).isalnum())
WORD = re.compile(rb"[0-9A-Za-z_\x80-\xfe]+")


@dataclass(frozen=True)
class Item:
    """One problem: its texts in reading order, and of its solutions only the code."""

    benchmark: str
    name: str
    texts: tuple[str, ...]
    solutions: tuple[str, ...]

    @property
    def whole(self) -> str:
        """All texts one after the other, as a solution follows its prompt."""
        return "\n".join(self.texts)


def folded_words(text: bytes) -> list[bytes]:
    """Give a text's words with the letters of ASCII in lower case."""
    return WORD.findall(text.translate(LOWER))


def without_space(text: bytes) -> bytes:
    """Give a text in lower case without white space, so that indentation and line ends do not matter."""
    return text.translate(LOWER, WHITE_SPACE)


def letters(text: bytes) -> bytes:
    """Give a text's letters and digits in lower case; of other alphabets every character counts as a letter."""
    return text.translate(LOWER, NOT_LETTERS)


def says_enough(text: bytes) -> bool:
    """Tell whether a text is long enough to be looked for whole."""
    return has_letters(letters(text)) and len(folded_words(text)) >= FEWEST_WORDS


def has_letters(text: bytes) -> bool:
    """Tell whether letters are many and different enough to be looked for."""
    return len(text) >= FEWEST_LETTERS and len(set(text)) >= FEWEST_DIFFERENT_LETTERS
