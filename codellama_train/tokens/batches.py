"""Whole steps for one rank: the rows of the lanes it owns, prepared in the background."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from codellama_train.console import UserError
from codellama_train.recipe.training import Data, TrainingRecipe, sequences_per_rank
from codellama_train.tokens.dialogue_format import format_of_mixture
from codellama_train.tokens.fast_encoder import with_fast_encoder
from codellama_train.tokens.lane_state import LaneState
from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.mixture import MixtureSource
from codellama_train.tokens.rows import IGNORED, Segment, empty_row
from codellama_train.tokens.shards import ShardSet
from codellama_train.tokens.tokenizer import Tokenizer, padded_vocabulary

MOST_SOURCES = 255  # a row names its tokens' sources in one byte each
SPACES = "  a  "
TOKENS_OF_INFILLING = 5  # BOS and the four sentinels


@dataclass(frozen=True)
class StepBatch:
    """A rank's part of one step. Arrays: (rows, sequence_length); `states` are those of its lanes after the step.

    `positions` restart with every document, for models whose attention is to keep documents apart.
    """

    input_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    source: npt.NDArray[np.uint8]
    infilled: npt.NDArray[np.bool_]
    positions: npt.NDArray[np.int32]
    segments: tuple[tuple[Segment, ...], ...]
    states: tuple[LaneState, ...]
    num_predicted: int


class LaneBatches:
    """Hands a rank its part of one step after another.

    `states` are those of *all* lanes, in order, as a checkpoint of any number of ranks holds them; None starts anew.
    The next step is prepared while the caller works; the state that counts is always that of the batch handed over.
    """

    def __init__(
        self, mixture: Mixture, *, rank: int, num_ranks: int, states: Sequence[LaneState] | None = None
    ) -> None:
        if states is None:
            states = [mixture.initial_state(lane) for lane in range(mixture.num_lanes)]
        assert len(states) == mixture.num_lanes, (len(states), mixture.num_lanes)
        self._mixture = mixture
        self._num_rows = sequences_per_rank(mixture.num_lanes, num_ranks)
        self.lanes = range(mixture.num_lanes)[rank * self._num_rows : (rank + 1) * self._num_rows]
        self.states = tuple(states[lane] for lane in self.lanes)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._coming: Future[StepBatch] = self._worker.submit(self._build, self.states)

    def next_step(self) -> StepBatch:
        """Give the next step and start on the one after it."""
        batch = self._coming.result()
        self.states = batch.states
        self._coming = self._worker.submit(self._build, batch.states)
        return batch

    def _build(self, states: Sequence[LaneState]) -> StepBatch:
        mixture = self._mixture
        drawn = [mixture.next_row(lane, state) for lane, state in zip(self.lanes, states, strict=True)]
        padding = empty_row(mixture.sequence_length, pad_id=mixture.tokenizer.eos_id)
        rows = [row for row, _ in drawn] + [padding] * (self._num_rows - len(drawn))
        labels = np.stack([row.labels for row in rows])
        return StepBatch(
            input_ids=np.stack([row.input_ids for row in rows]),
            labels=labels,
            source=np.stack([row.source for row in rows]),
            infilled=np.stack([row.infilled for row in rows]),
            positions=np.stack([row.positions for row in rows]),
            segments=tuple(row.segments for row in rows),
            states=tuple(state for _, state in drawn),
            num_predicted=int((labels != IGNORED).sum()),
        )


def open_mixture(recipe: TrainingRecipe, tokenizer: Tokenizer) -> Mixture:
    """Open the shards of a recipe as its lanes; refuses shards of another tokenizer."""
    data = recipe.data
    if len(data.sources) > MOST_SOURCES:
        raise UserError(f"data.sources has {len(data.sources)} tables; a mixture has at most {MOST_SOURCES} sources")
    if data.infilling is not None and tokenizer.decode_infilling(tokenizer.encode_infilling(SPACES)) != SPACES:
        raise UserError(
            "data.infilling needs a tokenizer that keeps every space, but this one joins or drops spaces, so the parts "
            "of a document would not fit together; remove [data.infilling] or start from another base"
        )
    shards = {name: ShardSet(source.shards) for name, source in data.sources.items()}
    dialogue_format = format_of_mixture({name: each.manifest for name, each in shards.items()})
    if data.infilling is not None:
        require_row(tokenizer, "[data.infilling]", token_id=max(astuple(tokenizer.sentinels)))
    if dialogue_format == "source_destination":
        require_row(tokenizer, 'dialogues in the format "source_destination"', token_id=tokenizer.step_id)
    return Mixture(
        [as_source(name, data, each, tokenizer) for name, each in shards.items()],
        tokenizer=with_fast_encoder(tokenizer) if data.infilling else tokenizer,
        sequence_length=data.sequence_length,
        num_lanes=recipe.sequences_per_step,
        seed=data.seed,
        document_mask=data.document_mask,
        best_fit_documents=data.best_fit.window_documents if data.best_fit else None,
    )


def require_row(tokenizer: Tokenizer, needed_by: str, *, token_id: int) -> None:
    """Refuse a recipe whose model has no row for a token that its data holds."""
    if tokenizer.piece(token_id) is None:
        rows = padded_vocabulary(token_id + 1)
        raise UserError(
            f"model.architecture.vocab_size={tokenizer.vocabulary_size:,} leaves no row for token {token_id:,}, which "
            f"{needed_by} needs; use {rows:,}, or remove the key to have a row for every id"
        )


def as_source(name: str, data: Data, shards: ShardSet, tokenizer: Tokenizer) -> MixtureSource:
    """Give shards as a source of the mixture; refuses what its recipe cannot use."""
    source = data.sources[name]
    shards.require_tokenizer(tokenizer.fingerprint, tokenizer.vocabulary_size)
    if shards.kind == "dialogues" and data.best_fit is not None:
        raise UserError(
            f"data.best_fit packs documents, but data.sources.{name} holds dialogues, which are never cut; "
            "remove [data.best_fit]"
        )
    rate = source.infilling_rate if source.infilling_rate is not None else data.infilling and data.infilling.rate
    added = 0 if shards.kind == "dialogues" else TOKENS_OF_INFILLING
    if (added == 0 or rate) and not shards.has_document_within(data.sequence_length - added):
        what = "dialogue" if added == 0 else "infilled document"
        raise UserError(
            f"data.sequence_length={data.sequence_length:,} is shorter than every {what} of data.sources.{name}; "
            "raise it"
        )
    return MixtureSource(name, source.share, shards, rate or None)
