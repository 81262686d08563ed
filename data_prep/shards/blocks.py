"""Functions and classes of languages other than Python, found by braces and blank lines, or by indentation.

A rule of thumb, not a parser: a block is a run of paragraphs whose brackets close (or which are indented below its
first line) and which looks like a definition. Languages with neither braces nor indented definitions give no blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

Fits = Callable[[str], bool]

INDENTED_LANGUAGES = ("cython", "haskell", "julia", "lua", "ruby")
INDENTED_DEFINITION = re.compile(
    r"\s*(?:@|async\s+def\b|c?p?def\b|class\b|(?:local\s+)?function\b|module\b|struct\b|instance\b|data\b|\w+\s*::)"
)
STATEMENT = re.compile(r"\s*(?:if|else|for|while|do|switch|case|default|try|catch|return|throw|goto)\b")

# Comments and string or character literals, in which a brace means nothing.
NOT_CODE = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


def blocks_of(text: str, language: str, fits: Fits) -> Iterator[str]:
    """Give the definitions of a file, dedented; the last word on their length is the caller's."""
    paragraphs = _paragraphs(text)
    if language in INDENTED_LANGUAGES:
        yield from (block for block in _indented_blocks(paragraphs, fits) if INDENTED_DEFINITION.match(block))
    else:
        yield from (block for block in _balanced_blocks(paragraphs, fits) if _is_braced_definition(block))


def _is_braced_definition(block: str) -> bool:
    code = NOT_CODE.sub(" ", block)
    return "{" in code and not STATEMENT.match(code)


def _paragraphs(text: str) -> list[str]:
    """Give the runs of lines between blank lines."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return [paragraph.strip("\n") for paragraph in re.split(r"\n(?:[ \t]*\n)+", unified) if paragraph.strip()]


def _balanced_blocks(paragraphs: Sequence[str], fits: Fits) -> Iterator[str]:
    """Join paragraphs until their brackets close; an opening one whose block does not fit is passed over.

    So `namespace x {` disappears and what it contains is cut by itself.
    """
    depths = [_bracket_depth(paragraph) for paragraph in paragraphs]
    start = 0
    while start < len(paragraphs):
        end, (lowest, depth) = start + 1, depths[start]
        while depth > 0 and lowest >= 0 and end < len(paragraphs):
            lowest, depth = min(lowest, depth + depths[end][0]), depth + depths[end][1]
            end += 1
            if not fits(dedented("\n\n".join(paragraphs[start:end]))):
                break
        block = dedented("\n\n".join(paragraphs[start:end]))
        if depth == 0 and lowest >= 0 and (end == start + 1 or fits(block)):
            yield block
            start = end
        else:
            start += 1


def _bracket_depth(paragraph: str) -> tuple[int, int]:
    """Give the lowest and the last depth of brackets over a paragraph, which starts at depth 0."""
    depth = lowest = 0
    for bracket in re.findall(r"[{}()\[\]]", NOT_CODE.sub(" ", paragraph)):
        depth += 1 if bracket in "{([" else -1
        lowest = min(lowest, depth)
    return lowest, depth


def _indented_blocks(paragraphs: Sequence[str], fits: Fits) -> Iterator[str]:
    """Join each paragraph with the deeper ones after it; one that does not fit is cut between its own parts."""
    start = 0
    while start < len(paragraphs):
        end = start + 1
        while end < len(paragraphs) and _indentation(paragraphs[end]) > _indentation(paragraphs[start]):
            end += 1
        block = dedented("\n\n".join(paragraphs[start:end]))
        if end == start + 1 or fits(block):
            yield block
            start = end
        else:
            start += 1


def _indentation(paragraph: str) -> int:
    return len(paragraph) - len(paragraph.lstrip(" \t"))


def dedented(block: str) -> str:
    """Take the first line's indentation off every line that has it."""
    indentation = block[: _indentation(block)]
    return "\n".join(line.removeprefix(indentation) for line in block.split("\n")).rstrip() + "\n"
