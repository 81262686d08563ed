"""The data order: L endless streams of tokens, one per row of the global batch, cut every `sequence_length` tokens.

What a lane reads is a pure function of the recipe and the shards. Its state is a few integers, so that training resumes
anywhere, on any number of ranks, without replaying anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from codellama_train.tokens import best_fit
from codellama_train.tokens.lane_reader import LaneReader
from codellama_train.tokens.lane_state import LaneState, initial_state
from codellama_train.tokens.mixture import DocumentOrder, MixtureSource, stagger_span
from codellama_train.tokens.rows import Row
from codellama_train.tokens.tokenizer import Tokenizer


class Mixture:
    """The lanes of a recipe over its sources.

    `document_mask` says that documents of a row will not see each other; `best_fit_documents` is the window of best-fit
    packing, None for plain concatenation.
    """

    def __init__(
        self,
        sources: Sequence[MixtureSource],
        *,
        tokenizer: Tokenizer,
        sequence_length: int,
        num_lanes: int,
        seed: int,
        document_mask: bool = False,
        best_fit_documents: int | None = None,
    ) -> None:
        total_share = sum(source.share for source in sources)
        self.sources = tuple(sources)
        self.shares = tuple(source.share / total_share for source in sources)
        self.orders = tuple(DocumentOrder(source, seed, num_lanes) for source in sources)
        self.tokenizer = tokenizer
        self.sequence_length, self.num_lanes, self.seed = sequence_length, num_lanes, seed
        self.document_mask = document_mask
        self.stagger_span = stagger_span(self.orders)
        self._best_fit_documents = best_fit_documents
        self._plans: dict[int, best_fit.WindowPlan] = {}

    def verify_shards(self) -> None:
        """Check every shard file's checksum; raises `artifacts.CorruptArtifact` naming the first bad file."""
        for source in self.sources:
            source.shards.verify()

    def initial_state(self, lane: int) -> LaneState:
        """Give the state of a lane that has read nothing."""
        assert 0 <= lane < self.num_lanes, (lane, self.num_lanes)
        return initial_state(len(self.sources))

    def next_row(self, lane: int, state: LaneState) -> tuple[Row, LaneState]:
        """Give the lane's next training sequence and the state after it."""
        if self._best_fit_documents is not None:
            return best_fit.next_row(self, lane, state, self._plan(lane, state, self._best_fit_documents))
        reader = LaneReader(self, lane, state)
        if state.carried is not None:
            reader.add(state.carried.source, state.carried.number, offset=state.carried.offset)
        while reader.writer.room:
            reader.read_next()
        return reader.finish()

    def _plan(self, lane: int, state: LaneState, window_documents: int) -> best_fit.WindowPlan:
        """Give the window a lane is in; the last one of each lane is remembered."""
        start = state.window.start if state.window else state
        plan = self._plans.get(lane)
        if plan is None or plan.start != start:
            plan = best_fit.plan_window(self, lane, start, window_documents=window_documents)
            self._plans[lane] = plan
        return plan


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

    is_infilled = any(source.infilling_rate for source in mixture.sources)

    def fraction(part: Sequence[int], whole: Sequence[int]) -> float | None:
        total = sum(whole[index] for index in ordinary)
        return sum(part[index] for index in ordinary) / total if total and is_infilled else None

    return {
        "epochs_by_source": {
            source.name: documents[index] / source.shards.num_documents for index, source in enumerate(mixture.sources)
        },
        "tokens_by_source": {source.name: tokens[index] for index, source in enumerate(mixture.sources)},
        "infilled_documents_fraction": fraction(infilled_documents, documents),
        "infilled_tokens_fraction": fraction(infilled_tokens, tokens),
    }
