"""What to say when a loss or a gradient is not a number, or infinite: the step, the rank, the documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

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
    place, documents = _places_of_all(batch, losses, sources=sources, processes=processes)
    return RunFailure(
        f"the loss of step {step:,} is not finite in {place}; the weights after step {step - 1:,} are untouched. "
        f"{documents}"
    )


def gradient_failure(
    step: int,
    batch: StepBatch,
    *,
    model: Any,
    run_again: Callable[[], object],
    sources: Sequence[MixtureSource],
    processes: Processes,
) -> RunFailure:
    """Describe a step whose losses are finite and whose gradient is not; called by all processes.

    The update was passed over, so that forward and backward of the step, which `run_again` runs, give the same once
    more. A gradient that is not finite reaches the embedding of what it came from, unless it arose in a weight's alone,
    which adds up all sequences of a micro-step.
    """
    with watched_gradients(model) as watched:
        run_again()
    marks = torch.cat(watched.of_embedding)
    beginning = f"the gradient of step {step:,} is not finite, though all its losses are"
    ending = f"the weights after step {step - 1:,} are untouched."
    if any(gathered(bool(marks.isnan().any()))):
        place, documents = _places_of_all(batch, marks, sources=sources, processes=processes)
        return RunFailure(f"{beginning}: on its way to {place}; {ending} {documents}")
    by_weights = [torch.full_like(part, 0.0 if finite else torch.nan) for part, finite in watched.by_micro_step()]
    if any(gathered(bool(torch.cat(by_weights).isnan().any()))):
        place, documents = _places_of_all(batch, torch.cat(by_weights), sources=sources, processes=processes)
        return RunFailure(f"{beginning}: that of a weight, in micro-steps of {place}; {ending} {documents}")
    return RunFailure(
        f"{beginning}, and so is that of every micro-step alone: their sum or its length is too large; {ending} "
        f"`scripts/show_batches.py RECIPE --step {step}` shows what the step holds"
    )


@dataclass
class WatchedGradients:
    """What a step's backward passes gave, by micro-step: NaN marks tokens whose embedding's gradient is not finite."""

    of_embedding: list[Tensor] = field(default_factory=list)
    finite_weights: list[bool] = field(default_factory=list)

    def by_micro_step(self) -> Iterator[tuple[Tensor, bool]]:
        """Pair each micro-step's marks (rows, sequence) with whether all gradients of weights were finite."""
        return zip(self.of_embedding, self.finite_weights, strict=True)


@contextmanager
def watched_gradients(model: Any) -> Iterator[WatchedGradients]:
    """Watch the gradients of a TrainingModel's embeddings and trained weights."""
    watched = WatchedGradients()

    def note_embedding(gradient: Tensor) -> None:
        is_finite = torch.isfinite(gradient).all(dim=-1)
        watched.of_embedding.append(torch.zeros(is_finite.shape).masked_fill(~is_finite.cpu(), torch.nan))

    def watch_output(_module: Any, _inputs: Any, output: Any) -> None:
        watched.finite_weights.append(True)
        if not output.requires_grad:  # with LoRA the embedding is frozen
            output.requires_grad_()
        output.register_hook(note_embedding)

    def note_weight(gradient: Tensor) -> None:
        watched.finite_weights[-1] &= bool(torch.isfinite(gradient).all())

    causal = model.causal
    base = causal.get_base_model() if hasattr(causal, "get_base_model") else causal
    trained: list[Any] = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handles = [base.get_input_embeddings().register_forward_hook(watch_output)]
    handles += [parameter.register_hook(note_weight) for parameter in trained]
    try:
        yield watched
    finally:
        for handle in handles:
            handle.remove()


def _places_of_all(
    batch: StepBatch, marks: Tensor, *, sources: Sequence[MixtureSource], processes: Processes
) -> tuple[str, str]:
    """Say in how many sequences of all processes marks are not finite, and name the first documents there."""
    marks = marks.cpu()
    is_bad = (~torch.isfinite(marks)).any(dim=1)
    named = islice(describe_documents(batch, marks, sources=sources), MOST_NAMED)
    everywhere = gathered((is_bad, [f"rank {processes.rank}: {text}" for text in named]))
    num_slices = batch.positions.shape[1] // marks.shape[1]  # of which neighbouring processes have one each
    bad_rows = torch.stack([part for part, _ in everywhere]).view(-1, num_slices, len(marks)).any(dim=1)
    lines = [line for _, lines in everywhere for line in lines][:MOST_NAMED]
    documents = f"The documents there, at most {MOST_NAMED}:\n  " + "\n  ".join(lines)
    return f"{int(bad_rows.sum()):,} of {bad_rows.numel():,} sequences", documents


def describe_documents(batch: StepBatch, marks: Tensor, *, sources: Sequence[MixtureSource]) -> Iterator[str]:
    """Name the documents that have marks that are not finite, and the first and last of their tokens that has one.

    These may be too many: attention weighs hidden tokens with zero, and zero times infinity is not a number. A loss
    spreads so to the tokens after its cause, a gradient to those before.
    """
    for segments, row_marks in zip(batch.segments, marks, strict=True):
        for segment in segments:
            bad = (~torch.isfinite(row_marks[segment.start : segment.stop])).nonzero()
            if len(bad) == 0:
                continue
            source, document = sources[segment.origin.source], segment.origin.document
            name = source.shards.document_id(document).hex()
            if path := document_path(source.shards.folder, document):
                name = f"{name} ({path})"
            first, last = segment.offset + int(bad[0]), segment.offset + int(bad[-1])
            yield f"{source.name} {name}, its tokens {first:,} to {last:,} of {segment.length:,}"
