"""Long texts cut into documents of a few thousand characters, at the best boundary there is."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Where to cut, best first: between scenes or chapters, between paragraphs, between lines.
BOUNDARIES = (
    (re.compile(r"\n(?:[ \t]*\n){3,}"), "\n\n\n\n"),
    (re.compile(r"\n(?:[ \t]*\n)+"), "\n\n"),
    (re.compile(r"\n"), "\n"),
)


def split_prose(text: str, document_characters: int) -> Iterator[str]:
    """Give the text's documents in order: neighbouring scenes, else paragraphs, else lines, as many as fit.

    Only blank lines are lost, and only at cuts; a single line longer than the bound stays whole.
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    yield from (part.strip("\n") + "\n" for part in _cut(unified, document_characters, 0) if part.strip())


def _cut(text: str, limit: int, level: int) -> Iterator[str]:
    """Cut at the boundaries of one level, and what is still too long at those of the next."""
    boundary, separator = BOUNDARIES[level]
    for part in _joined(boundary.split(text), limit, separator):
        if len(part) > limit and level + 1 < len(BOUNDARIES):
            yield from _cut(part, limit, level + 1)
        else:
            yield part


def _joined(parts: list[str], limit: int, separator: str) -> Iterator[str]:
    """Join neighbours as long as the result stays within the limit."""
    current = parts[0]
    for part in parts[1:]:
        if len(current) + len(separator) + len(part) <= limit:
            current += separator + part
        else:
            yield current
            current = part
    yield current
