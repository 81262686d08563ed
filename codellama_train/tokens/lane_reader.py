"""A lane while it moves: which document comes next, and one row being filled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from codellama_train.tokens.infilling import InfilledDocument, maybe_infill
from codellama_train.tokens.lane_state import Carried, LaneState, WindowPlace
from codellama_train.tokens.mixture import Draw, due_time, starting_credits
from codellama_train.tokens.randomness import RandomKey
from codellama_train.tokens.rows import Form, Origin, Row, RowWriter

if TYPE_CHECKING:
    from codellama_train.tokens.lanes import Mixture


class _Coming(NamedTuple):
    """A source's next document and when it is due."""

    draw: Draw
    due: float


class LaneCursor:
    """A lane's place in the order of documents: what it has read of each source, and each source's next document."""

    def __init__(self, mixture: Mixture, lane: int, state: LaneState) -> None:
        self._mixture, self._lane = mixture, lane
        self.documents, self.tokens = list(state.documents), list(state.tokens)
        self._credits = starting_credits(lane, shares=mixture.shares, span=mixture.stagger_span)
        self._coming: dict[int, _Coming] = {}

    def next_source(self) -> int:
        """Choose the source whose next document is due first; the first of equals."""
        return min(range(len(self.documents)), key=lambda index: self._next_of(index).due)

    def next_draw(self, index: int) -> Draw:
        """Give the next document of a source."""
        return self._next_of(index).draw

    def origin(self, index: int, number: int) -> Origin:
        """Give the lane's document of that number, counted from 0."""
        is_next = number == self.documents[index]  # and so is known already
        draw = self.next_draw(index) if is_next else self._mixture.orders[index].draw(self._lane, number)
        return Origin(index, draw.document, draw.epoch)

    def count(self, index: int, num_tokens: int, *, starts_document: bool) -> None:
        """Take note of tokens read."""
        self.documents[index] += starts_document
        self.tokens[index] += num_tokens
        self._coming.pop(index, None)

    def _next_of(self, index: int) -> _Coming:
        if index not in self._coming:
            draw = self._mixture.orders[index].draw(self._lane, self.documents[index])
            due = due_time(
                tokens=self.tokens[index] - self._credits[index],
                length=self._mixture.sources[index].stream_length(draw.document),
                share=self._mixture.shares[index],
            )
            self._coming[index] = _Coming(draw, due)
        return self._coming[index]


class LaneReader:
    """A lane filling one row, from the state before it to the state after."""

    def __init__(self, mixture: Mixture, lane: int, state: LaneState) -> None:
        self._mixture = mixture
        self.cursor = LaneCursor(mixture, lane, state)
        self.writer = RowWriter(
            mixture.sequence_length,
            bos_id=mixture.tokenizer.bos_id,
            eos_id=mixture.tokenizer.eos_id,
            are_documents_masked=mixture.document_mask,
        )
        self._infilled_documents, self._infilled_tokens = list(state.infilled_documents), list(state.infilled_tokens)
        self._carried: Carried | None = None

    def read_next(self) -> None:
        """Add the document that is due first, infilled if it should be and fits; a dialogue may wait for a new row."""
        index = self.cursor.next_source()
        source, number, draw = self._mixture.sources[index], self.cursor.documents[index], self.cursor.next_draw(index)
        room = self.writer.room
        if source.is_dialogues and room < self._mixture.sequence_length and source.stream_length(draw.document) > room:
            self.writer.pad(Origin(index, draw.document, draw.epoch))
            return
        self.add(index, number, infilling_room=room)

    def add(self, index: int, number: int, *, offset: int = 0, infilling_room: int | None = None) -> None:
        """Add a document from its token `offset` on; it may be infilled if that takes at most `infilling_room`."""
        origin = self.cursor.origin(index, number)
        infilled = None if infilling_room is None else infilled_form(self._mixture, origin, room=infilling_room)
        if infilled is not None:
            self._infilled_documents[index] += 1
            self._infilled_tokens[index] += len(infilled.ids)
            added = self.writer.add_infilled(origin, infilled.ids, infilled.mode)
            self.cursor.count(index, added, starts_document=True)
            return
        source = self._mixture.sources[index]
        ids = source.shards.ids(origin.document)
        if source.is_dialogues:
            added = self.writer.add_dialogue(origin, ids, source.shards.predicted(origin.document), offset)
        else:
            added = self.writer.add_plain(origin, ids, offset)
        self.cursor.count(index, added, starts_document=offset == 0)
        is_cut = offset + added < source.stream_length(origin.document)
        self._carried = Carried(index, number, offset + added) if is_cut else None

    def finish(self) -> tuple[Row, LaneState]:
        """Give the full row and the lane's state after it."""
        next_source = self._mixture.sources[self.cursor.next_source()]
        next_form: Form = "dialogue" if next_source.is_dialogues else "in order"
        row = self.writer.finish(next_form=None if self._carried else next_form)
        return row, self.state(self._carried)

    def state(self, carried: Carried | None, window: WindowPlace | None = None) -> LaneState:
        """Give what is read so far as a state."""
        return LaneState(
            documents=tuple(self.cursor.documents),
            tokens=tuple(self.cursor.tokens),
            infilled_documents=tuple(self._infilled_documents),
            infilled_tokens=tuple(self._infilled_tokens),
            carried=carried,
            window=window,
        )


def infilled_form(mixture: Mixture, origin: Origin, *, room: int) -> InfilledDocument | None:
    """Give a document's infilled form if its source, its coin, its exactness and the room allow one."""
    source = mixture.sources[origin.source]
    if source.infilling_rate is None or source.is_dialogues or not source.shards.is_exact(origin.document):
        return None
    return maybe_infill(
        mixture.tokenizer,
        source.shards.ids(origin.document),
        key=RandomKey(mixture.seed, source.shards.document_id(origin.document), origin.epoch),
        rate=source.infilling_rate,
        room=room,
    )
