r"""How much of a text is data written as text: base64, hexadecimal or escapes, as The Stack v2 looks for it.

The patterns are those of the StarCoder2 paper's "encoded data filter": base64 `[a-zA-Z0-9+/\n=]{64,}`, hexadecimal
`(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}` and escapes `(?:\\u[0-9a-fA-F]{4}){8,}`. A file went if one run was
longer than 1,024 characters or if runs were more than half of it. Arrays find where a match can be; the patterns run
only there.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

import numpy as np

from data_prep.tags.text_statistics import Bytes, runs_of

BASE64_MIN = 64
HEXADECIMAL = re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}", re.ASCII)
HEXADECIMAL_MIN = 16
ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}")


def _members(characters: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    members = np.zeros(256, dtype=bool)
    members[[ord(character) for character in characters]] = True
    return members


IS_BASE64 = _members(string.ascii_letters + string.digits + "+/\n=")
IS_HEXADECIMAL = _members(string.hexdigits + "x\\," + string.whitespace)


def encoded_statistics(text: str, data: Bytes) -> dict[str, float]:
    """Give the share of characters in encoded runs and the length of the longest; `data` has a byte per character."""
    covered = 0
    longest = 0
    end = 0
    for start, stop in sorted(_encoded_runs(text, data)):
        longest = max(longest, stop - start)
        covered += max(stop - max(start, end), 0)
        end = max(end, stop)
    return {"encoded_fraction": covered / max(len(text), 1), "longest_encoded_run": longest}


def _encoded_runs(text: str, data: Bytes) -> Iterator[tuple[int, int]]:
    yield from ((int(start), int(end)) for start, end in runs_of(IS_BASE64[data], BASE64_MIN))
    for start, end in runs_of(IS_HEXADECIMAL[data], HEXADECIMAL_MIN).tolist():
        if len(text[start:end].strip()) >= HEXADECIMAL_MIN:  # and not only an indentation
            # One character more, for the pattern asks at its end whether a word ends there.
            yield from (match.span() for match in HEXADECIMAL.finditer(text, start, min(end + 1, len(text))))
    if "\\u" in text:
        yield from (match.span() for match in ESCAPES.finditer(text))
