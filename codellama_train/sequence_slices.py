"""Slices of sequences: what each of several processes runs of the sequences that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from codellama_train.tokens.batches import LaneBatches, StepBatch
from codellama_train.tokens.lane_state import LaneState
from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.rows import IGNORED, Segment

if TYPE_CHECKING:  # it imports DeepSpeed, which who only generates does not need
    from codellama_train.distributed import Processes


@dataclass(frozen=True)
class SequenceShare:
    """Which of how many equal slices of each sequence this process runs; by default the whole."""

    place: int = 0
    num_slices: int = 1

    def columns(self, length: int) -> slice:
        """Give the columns of a sequence of so many tokens that are this process's own."""
        width = length // self.num_slices
        return slice(self.place * width, (self.place + 1) * width)

    def position_ids(self, input_ids: Tensor, positions: Tensor | None) -> Tensor:
        """Give the positions of a slice's tokens (batch, slice) from those of whole rows, None for plain counting."""
        columns = self.columns(input_ids.shape[1] * self.num_slices)
        if positions is None:
            return torch.arange(columns.start, columns.stop, device=input_ids.device)[None]
        return positions[:, columns]


WHOLE_SEQUENCES = SequenceShare()


def share_of(processes: Processes, num_slices: int) -> SequenceShare:
    """Say which slice is this process's, where each `num_slices` neighbours share sequences."""
    return SequenceShare(place=processes.rank % num_slices, num_slices=num_slices)


class SlicedBatches:
    """Hands a process its slice of every sequence that it shares with its neighbours, one step after another.

    Processes that share sequences are a group, which reads what one process would: so lanes belong to groups, and the
    first process of a group answers for their states, of which the others have none.
    """

    def __init__(
        self, mixture: Mixture, *, share: SequenceShare, processes: Processes, states: Sequence[LaneState] | None
    ) -> None:
        self._share = share
        self._batches = LaneBatches(
            mixture,
            rank=processes.rank // share.num_slices,
            num_ranks=processes.num_ranks // share.num_slices,
            states=states,
        )

    @property
    def states(self) -> tuple[LaneState, ...]:
        """Give the states of the lanes that this process answers for."""
        return () if self._share.place else self._batches.states

    def next_step(self) -> StepBatch:
        """Give the next step's slice, in which labels of a slice's last tokens are the next slice's first ones."""
        return slice_of(self._batches.next_step(), self._share)


def slice_of(batch: StepBatch, share: SequenceShare) -> StepBatch:
    """Cut a process's slice out of whole rows; only the positions, which say who may look at whom, stay whole."""
    columns = share.columns(batch.input_ids.shape[1])
    labels = batch.labels[:, columns]
    return replace(
        batch,
        input_ids=batch.input_ids[:, columns],
        labels=labels,
        source=batch.source[:, columns],
        infilled=batch.infilled[:, columns],
        segments=tuple(clip(segments, columns) for segments in batch.segments),
        states=() if share.place else batch.states,
        num_predicted=int((labels != IGNORED).sum()),
    )


def clip(segments: Sequence[Segment], columns: slice) -> tuple[Segment, ...]:
    """Give the segments of a row as its columns see them: counted from their start, cut at both ends."""
    clipped = []
    for segment in segments:
        start, stop = max(segment.start, columns.start), min(segment.stop, columns.stop)
        if start < stop:
            clipped.append(
                segment._replace(
                    start=start - columns.start,
                    stop=stop - columns.start,
                    offset=segment.offset + start - segment.start,
                )
            )
    return tuple(clipped)
