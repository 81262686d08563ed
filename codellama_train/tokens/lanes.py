"""The data order: L endless streams of tokens, one per row of the global batch, cut every `sequence_length` tokens.

What a lane reads is a pure function of the recipe and the shards. Its state is a few integers, so that training resumes
anywhere, on any number of ranks, without replaying anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from codellama_train.tokens.infilling import maybe_infill
from codellama_train.tokens.mixture import (
    DocumentOrder,
    Draw,
    MixtureSource,
    due_time,
    stagger_span,
    starting_credits,
)
from codellama_train.tokens.randomness import RandomKey
from codellama_train.tokens.rows import Row, RowWriter
from codellama_train.tokens.tokenizer import SentencePieceTokenizer


@dataclass(frozen=True)
class Carried:
    """A document that a row's end has cut: the lane's draw of a source, and how many of its tokens are read."""

    source: int
    number: int
    offset: int


@dataclass(frozen=True)
class LaneState:
    """Where a lane stands: per source what it has read, and the document it is in; None between documents."""

    documents: tuple[int, ...]
    tokens: tuple[int, ...]
    infilled_documents: tuple[int, ...]
    infilled_tokens: tuple[int, ...]
    carried: Carried | None

    def as_json(self) -> dict[str, Any]:
        """Give the state as a JSON value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LaneState:
        """Undo `as_json`."""
        counts = {name: tuple(count) for name, count in value.items() if name != "carried"}
        return cls(**counts, carried=Carried(**value["carried"]) if value["carried"] else None)


class Mixture:
    """The lanes of a recipe over its sources; `infilling_rate` None leaves every document in order."""

    def __init__(
        self,
        sources: Sequence[MixtureSource],
        *,
        tokenizer: SentencePieceTokenizer,
        sequence_length: int,
        num_lanes: int,
        seed: int,
        infilling_rate: float | None,
    ) -> None:
        total_share = sum(source.share for source in sources)
        self.sources = tuple(sources)
        self.shares = tuple(source.share / total_share for source in sources)
        self.orders = tuple(DocumentOrder(source, seed, num_lanes) for source in sources)
        self.tokenizer = tokenizer
        self.sequence_length, self.num_lanes = sequence_length, num_lanes
        self.seed, self.infilling_rate = seed, infilling_rate
        self.stagger_span = stagger_span(self.orders)

    def verify_shards(self) -> None:
        """Check every shard file's checksum; raises `artifacts.CorruptArtifact` naming the first bad file."""
        for source in self.sources:
            source.shards.verify()

    def initial_state(self, lane: int) -> LaneState:
        """Give the state of a lane that has read nothing."""
        assert 0 <= lane < self.num_lanes, (lane, self.num_lanes)
        nothing = (0,) * len(self.sources)
        return LaneState(nothing, nothing, nothing, nothing, carried=None)

    def next_row(self, lane: int, state: LaneState) -> tuple[Row, LaneState]:
        """Give the lane's next training sequence and the state after it."""
        reader = _LaneReader(self, lane, state)
        if state.carried is not None:
            reader.go_on(state.carried)
        while reader.writer.room:
            reader.read_next()
        return reader.finish()


class _Coming(NamedTuple):
    """A source's next document and when it is due."""

    draw: Draw
    due: float


class _LaneReader:
    """A lane while it fills one row: the counts of its state, as lists, and each source's next document."""

    def __init__(self, mixture: Mixture, lane: int, state: LaneState) -> None:
        self._mixture, self._lane = mixture, lane
        tokenizer = mixture.tokenizer
        self.writer = RowWriter(mixture.sequence_length, bos_id=tokenizer.bos_id, eos_id=tokenizer.eos_id)
        self._documents, self._tokens = list(state.documents), list(state.tokens)
        self._infilled_documents, self._infilled_tokens = list(state.infilled_documents), list(state.infilled_tokens)
        self._carried: Carried | None = None
        self._credits = starting_credits(lane, shares=mixture.shares, span=mixture.stagger_span)
        self._coming: dict[int, _Coming] = {}

    def go_on(self, carried: Carried) -> None:
        """Add what the row before has left of a document."""
        draw = self._mixture.orders[carried.source].draw(self._lane, carried.number)
        self._add_in_order(carried.source, carried.number, draw.document, carried.offset)

    def read_next(self) -> None:
        """Add the document that is due first, infilled if it should be and fits; a dialogue may wait for a new row."""
        index = self._most_due()
        source, number, draw = self._mixture.sources[index], self._documents[index], self._next_of(index).draw
        room = self.writer.room
        if source.is_dialogues and room < self._mixture.sequence_length and source.stream_length(draw.document) > room:
            self.writer.pad(index)
            return
        self._documents[index] += 1
        infilled = self._infilled(source, draw)
        if infilled is None:
            self._add_in_order(index, number, draw.document, offset=0)
        else:
            self._infilled_documents[index] += 1
            self._infilled_tokens[index] += len(infilled)
            self._count(index, self.writer.add_infilled(index, infilled))

    def finish(self) -> tuple[Row, LaneState]:
        """Give the full row and the lane's state after it."""
        if self._carried is not None:
            row = self.writer.finish()
        else:
            row = self.writer.finish_before(starts_dialogue=self._mixture.sources[self._most_due()].is_dialogues)
        state = LaneState(
            documents=tuple(self._documents),
            tokens=tuple(self._tokens),
            infilled_documents=tuple(self._infilled_documents),
            infilled_tokens=tuple(self._infilled_tokens),
            carried=self._carried,
        )
        return row, state

    def _infilled(self, source: MixtureSource, draw: Draw) -> list[int] | None:
        mixture, shards = self._mixture, source.shards
        if mixture.infilling_rate is None or source.is_dialogues or not shards.is_exact(draw.document):
            return None
        return maybe_infill(
            mixture.tokenizer,
            shards.ids(draw.document),
            key=RandomKey(mixture.seed, shards.document_id(draw.document), draw.epoch),
            rate=mixture.infilling_rate,
            room=self.writer.room,
        )

    def _add_in_order(self, index: int, number: int, document: int, offset: int) -> None:
        source = self._mixture.sources[index]
        ids = source.shards.ids(document)
        if source.is_dialogues:
            added = self.writer.add_dialogue(index, ids, source.shards.predicted(document), offset)
        else:
            added = self.writer.add_plain(index, ids, offset)
        self._count(index, added)
        if offset + added < source.stream_length(document):
            self._carried = Carried(index, number, offset + added)

    def _count(self, index: int, num_tokens: int) -> None:
        self._tokens[index] += num_tokens
        self._coming.pop(index, None)

    def _most_due(self) -> int:
        """Choose the source whose next document is due first; the first of equals."""
        return min(range(len(self._documents)), key=lambda index: self._next_of(index).due)

    def _next_of(self, index: int) -> _Coming:
        if index not in self._coming:
            draw = self._mixture.orders[index].draw(self._lane, self._documents[index])
            due = due_time(
                tokens=self._tokens[index] - self._credits[index],
                length=self._mixture.sources[index].stream_length(draw.document),
                share=self._mixture.shares[index],
            )
            self._coming[index] = _Coming(draw, due)
        return self._coming[index]


def summarise(mixture: Mixture, states: Iterable[LaneState]) -> dict[str, Any]:
    """Give what all lanes have read, for the metrics: epochs and tokens per source, realised infilling rates.

    The rates are over all that could be infilled, so dialogues do not count.
    """
    states = list(states)
    documents, tokens, infilled_documents, infilled_tokens = (
        [sum(counts) for counts in zip(*(getattr(state, name) for state in states), strict=True)]
        for name in ("documents", "tokens", "infilled_documents", "infilled_tokens")
    )
    ordinary = [index for index, source in enumerate(mixture.sources) if not source.is_dialogues]

    def fraction(part: Sequence[int], whole: Sequence[int]) -> float | None:
        total = sum(whole[index] for index in ordinary)
        return sum(part[index] for index in ordinary) / total if total and mixture.infilling_rate else None

    return {
        "epochs_by_source": {
            source.name: documents[index] / source.shards.num_documents for index, source in enumerate(mixture.sources)
        },
        "tokens_by_source": {source.name: tokens[index] for index, source in enumerate(mixture.sources)},
        "infilled_documents_fraction": fraction(infilled_documents, documents),
        "infilled_tokens_fraction": fraction(infilled_tokens, tokens),
    }
