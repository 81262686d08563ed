"""What to say when a loss or a gradient is not a number, or infinite: the step, the rank, the documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from codellama_train.console import RunFailure
from codellama_train.distributed import Processes, gathered
from codellama_train.tokens.batches import StepBatch
from codellama_train.tokens.display import document_path
from codellama_train.tokens.mixture import MixtureSource

MOST_NAMED = 10


def loss_failure(
    step: int, batch: StepBatch, losses: Tensor, *, sources: Sequence[MixtureSource], processes: Processes
) -> RunFailure:
    """Describe a step whose losses are not all finite; called by all processes, each with its rows' losses."""
    losses = losses.cpu()
    bad_rows = (~torch.isfinite(losses)).any(dim=1)
    named = islice(describe_documents(batch, losses, sources=sources), MOST_NAMED)
    everywhere = gathered((int(bad_rows.sum()), len(bad_rows), [f"rank {processes.rank}: {text}" for text in named]))
    num_bad, num_rows = (sum(part[place] for part in everywhere) for place in (0, 1))
    lines = [line for _, _, lines in everywhere for line in lines][:MOST_NAMED]
    return RunFailure(
        f"the loss of step {step:,} is not finite in {num_bad:,} of {num_rows:,} sequences; the weights after step "
        f"{step - 1:,} are untouched. The documents there, at most {MOST_NAMED}:\n  " + "\n  ".join(lines)
    )


def describe_documents(batch: StepBatch, losses: Tensor, *, sources: Sequence[MixtureSource]) -> Iterator[str]:
    """Name the documents that have losses that are not finite, and the first of their tokens that has one.

    These may be too many: attention weighs hidden tokens with zero, and zero times infinity is not a number.
    """
    for segments, row_losses in zip(batch.segments, losses, strict=True):
        for segment in segments:
            bad = (~torch.isfinite(row_losses[segment.start : segment.stop])).nonzero()
            if len(bad) == 0:
                continue
            source, document = sources[segment.origin.source], segment.origin.document
            name = source.shards.document_id(document).hex()
            if path := document_path(source.shards.folder, document):
                name = f"{name} ({path})"
            yield f"{source.name} {name}, from its token {segment.offset + int(bad[0]):,} of {segment.length:,}"


def gradient_failure(step: int) -> RunFailure:
    """Describe a step whose losses are finite and whose gradient is not."""
    return RunFailure(
        f"the gradient of step {step:,} is not finite, though all its losses are; the weights after step {step - 1:,} "
        f"are untouched. `scripts/show_batches.py RECIPE --step {step}` shows what the step holds"
    )
