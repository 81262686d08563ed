"""Best-fit packing, an ablation of plain concatenation: documents arranged so that few are cut.

A lane draws a window of documents and puts them, longest first, each into the row with the least room that holds it.
What room is left is filled by further documents, in order, cut where a row ends; so nothing is lost and nothing padded.
Rows come in the order in which their longest documents were drawn, so that length says nothing about place.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from codellama_train.tokens.lane_reader import LaneCursor, LaneReader, infilled_form
from codellama_train.tokens.lane_state import Carried, LaneState, WindowPlace
from codellama_train.tokens.permutation import mix
from codellama_train.tokens.rows import Row

if TYPE_CHECKING:
    from codellama_train.tokens.lanes import Mixture


class Part(NamedTuple):
    """Tokens of a document, from `offset` on, in a planned row; only whole documents may be infilled."""

    source: int
    number: int
    offset: int
    length: int
    place: int  # in the order of drawing
    may_infill: bool


@dataclass(frozen=True)
class WindowPlan:
    """The rows of a window, and the document that its end cuts."""

    start: LaneState
    rows: tuple[tuple[Part, ...], ...]
    carried: Carried | None


def next_row(mixture: Mixture, lane: int, state: LaneState, plan: WindowPlan) -> tuple[Row, LaneState]:
    """Give the next row of a planned window and the state after it."""
    rows_read = state.window.rows_read if state.window else 0
    reader = LaneReader(mixture, lane, state)
    for part in plan.rows[rows_read]:
        room = mixture.sequence_length if part.may_infill else None
        reader.add(part.source, part.number, offset=part.offset, infilling_room=room)
    row, _ = reader.finish()
    if rows_read + 1 == len(plan.rows):
        return row, reader.state(plan.carried)
    return row, reader.state(None, WindowPlace(plan.start, rows_read + 1))


def plan_window(mixture: Mixture, lane: int, start: LaneState, *, window_documents: int) -> WindowPlan:
    """Arrange the lane's next documents from a state between windows."""
    cursor = LaneCursor(mixture, lane, start)
    parts = [part for place in range(window_documents) for part in _drawn(mixture, cursor, place)]
    rows = best_fit_rows(parts, mixture.sequence_length)
    filled, carried = _fill_gaps(mixture, cursor, rows, start.carried)
    return WindowPlan(start, tuple(filled), carried)


def _drawn(mixture: Mixture, cursor: LaneCursor, place: int) -> list[Part]:
    """Draw a document; one longer than a row is cut into full rows and the rest."""
    index = cursor.next_source()
    number, length = cursor.documents[index], mixture.sequence_length
    origin = cursor.origin(index, number)
    infilled = infilled_form(mixture, origin, room=length)
    total = mixture.sources[index].stream_length(origin.document) if infilled is None else len(infilled.ids)
    cursor.count(index, total, starts_document=True)
    return [
        Part(index, number, offset, min(length, total - offset), place, may_infill=total <= length)
        for offset in range(0, total, length)
    ]


def best_fit_rows(parts: list[Part], sequence_length: int) -> list[list[Part]]:
    """Put parts into rows by best fit, longest first; parts of a row are in the order of drawing."""
    rows: list[list[Part]] = []
    open_rows: list[tuple[int, int]] = []  # room and number, in order
    # Equals in no order, or the early-drawn of them would begin the rows and so decide their places.
    for part in sorted(parts, key=lambda part: (-part.length, mix(part.place), part.offset)):
        fitting = bisect_left(open_rows, (part.length, 0))
        if fitting < len(open_rows):
            room, index = open_rows.pop(fitting)
        else:
            room, index = sequence_length, len(rows)
            rows.append([])
        rows[index].append(part)
        if room > part.length:
            insort(open_rows, (room - part.length, index))
    return [sorted(row, key=drawn_at) for row in sorted(rows, key=row_place)]


def drawn_at(part: Part) -> tuple[int, int]:
    """Give a part's place in the order of drawing, a document's later parts after its earlier ones."""
    return part.place, part.offset


def row_place(row: Sequence[Part]) -> tuple[int, int]:
    """Give a row's place among rows: where its longest part was drawn, but never before what a later part follows.

    The last draw of a row would not do: rows of many short documents would all come late.
    """
    longest = max(row, key=lambda part: part.length)
    return max(drawn_at(part) for part in row if part is longest or part.offset)


def _fill_gaps(
    mixture: Mixture, cursor: LaneCursor, rows: list[list[Part]], carried: Carried | None
) -> tuple[list[tuple[Part, ...]], Carried | None]:
    """Fill each row with documents left in order, the carried one first; the last may go on in the next window."""
    filled = []
    for row in rows:
        room = mixture.sequence_length - sum(part.length for part in row)
        fillers: list[Part] = []
        while room:
            if carried is None:
                index = cursor.next_source()
                carried = Carried(index, cursor.documents[index], 0)
            document = cursor.origin(carried.source, carried.number).document
            left = mixture.sources[carried.source].stream_length(document) - carried.offset
            taken = min(left, room)
            fillers.append(Part(carried.source, carried.number, carried.offset, taken, len(rows), may_infill=False))
            cursor.count(carried.source, taken, starts_document=carried.offset == 0)
            carried = None if taken == left else Carried(carried.source, carried.number, carried.offset + taken)
            room -= taken
        filled.append((*row, *fillers))
    return filled, carried
