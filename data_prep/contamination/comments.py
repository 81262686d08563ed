"""Where comments and triple-quoted texts lie, in any of the common languages: a rule of thumb, not a parser.

Left to right, what comes first wins, so that a hash sign inside a docstring means nothing:
- `#` at the start of a line or after white space, to the end of the line;
- `//` at the start of a line, after a tab or two blanks, or after one of `;{},` with at most one blank, to the end of
  the line (elsewhere it divides, or stands in an address);
- `/*` after white space or one of `;{}(),` up to the next `*/`;
- three quotes up to the next three of the same kind.
Nothing that is not closed inside its text is a comment.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from data_prep.contamination.joined_texts import SEPARATOR, Places

Bytes = npt.NDArray[np.uint8]
Class = npt.NDArray[np.bool_]  # of bytes: whether each of the 256 belongs to it

_END_OF_TEXT = SEPARATOR[0]
_LINE_END, _TAB, _BLANK = b"\n"[0], b"\t"[0], b" "[0]


def _bytes_in(characters: bytes) -> Class:
    return np.array([byte in characters for byte in range(256)])


_WHITE = _bytes_in(b" \t\n\r\f\v" + SEPARATOR)
_BEFORE_BLOCK = _WHITE | _bytes_in(b";{}(),")
_BEFORE_SLASHES = _bytes_in(b"\n\t;{}," + SEPARATOR)
_BEFORE_BLANK_AND_SLASHES = _bytes_in(b" \t\n;{}," + SEPARATOR)


def comment_spans(data: bytes) -> tuple[Places, Places]:
    """Give where the comments of joined texts start and end, in order and apart from each other."""
    array = np.frombuffer(data, np.uint8)
    line_ends = np.flatnonzero((array == _LINE_END) | (array == _END_OF_TEXT))
    text_ends = np.flatnonzero(array == _END_OF_TEXT)
    spans = [
        _lines(_hash_signs(array), line_ends),
        _lines(_slashes(array), line_ends),
        _blocks(_block_openers(array), _string(array, b"*/"), text_ends, width=2),
        *(_blocks(found, found, text_ends, width=3) for found in (_string(array, b'"""'), _string(array, b"'''"))),
    ]
    starts = np.concatenate([start for start, _ in spans])
    ends = np.concatenate([end for _, end in spans])
    order = np.argsort(starts, kind="stable")
    return _apart(starts[order], ends[order])


def _apart(starts: Places, ends: Places) -> tuple[Places, Places]:
    """Leave out the spans that start inside an earlier one."""
    kept, covered = [], 0
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if start >= covered:
            kept.append(number)
            covered = end
    return starts[kept], ends[kept]


def _hash_signs(array: Bytes) -> Places:
    found = np.flatnonzero(array == b"#"[0])
    return _chosen(found, _WHITE[array[found - 1]])


def _slashes(array: Bytes) -> Places:
    found = _string(array, b"//")
    before, further = array[found - 1], array[np.maximum(found - 2, 0)]
    return _chosen(found, _BEFORE_SLASHES[before] | ((before == _BLANK) & _BEFORE_BLANK_AND_SLASHES[further]))


def _block_openers(array: Bytes) -> Places:
    found = _string(array, b"/*")
    return _chosen(found, _BEFORE_BLOCK[array[found - 1]])


def _string(array: Bytes, characters: bytes) -> Places:
    """Find a short string."""
    is_found = array[: len(array) - len(characters) + 1] == characters[0]
    for place, character in enumerate(characters[1:], start=1):
        is_found &= array[place : place + len(is_found)] == character
    return np.flatnonzero(is_found)


def _chosen(places: Places, is_chosen: npt.NDArray[np.bool_]) -> Places:
    return places[is_chosen]


def _lines(markers: Places, line_ends: Places) -> tuple[Places, Places]:
    return markers, _next(line_ends, markers)


def _blocks(openers: Places, closers: Places, text_ends: Places, *, width: int) -> tuple[Places, Places]:
    """Pair each opener with the next closer of its text."""
    far = text_ends[-1] + 1
    close = _next(np.append(closers, far), openers + width)
    inside = close < _next(text_ends, openers)
    return openers[inside], close[inside] + width


def _next(sorted_places: Places, places: Places) -> Places:
    """Give for each place the first of the sorted places at or after it."""
    return sorted_places[np.searchsorted(sorted_places, places)]
