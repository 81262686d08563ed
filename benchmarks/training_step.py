"""One training step on the processor, ours beside Trainer with DeepSpeed and bare torch loops: speed and memory.

Each contender is a process of its own that trains the same weights on the same batches with the same AdamW in bfloat16
with float32 copies; they make their steps in turn. The losses are compared before anything is printed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from corpus import describe_machine
from pacing import Step, first_steps, started, steps_in_turn
from training_peers import BARE, CONTENDERS, OURS, TRAINER, compete
from training_world import Case, Shape, write_world

from codellama_train.console import RunFailure, run_program

FIRST_LOSS_TOLERANCE, LOSS_TOLERANCE = 1e-3, 1e-2  # relative; weights, activations and logits have 8 bits
TARGETS = {TRAINER: "≥ 1.2, ≤ 0.6", BARE: "≥ 0.9"}


def main(arguments: Sequence[str]) -> None:
    """Measure and print the table."""
    options = parse(arguments)
    os.environ.update(OMP_NUM_THREADS="1", DS_ACCELERATOR="cpu", TOKENIZERS_PARALLELISM="false")
    print(describe_machine("torch", "deepspeed", "transformers"))
    case = Case(
        Shape(options.hidden, round(options.hidden * 43 / 16), options.layers, options.hidden // 64),
        options.sequence_length,
        sequences_per_device=options.sequences,
        accumulation=options.accumulation,
        steps=options.rounds + 2,
        zero_stage=options.zero_stage,
    )
    print(case)
    with tempfile.TemporaryDirectory() as folder:
        write_world(Path(folder), num_tokens=max(100_000, case.tokens_per_step * case.steps))
        named = {name: (name, Path(folder), case) for name in options.contenders}
        with started(compete, named) as pipes:
            first = first_steps(pipes)
            steps = steps_in_turn(pipes, rounds=options.rounds)
    check_losses({name: [first[name], *steps[name]] for name in steps})
    show(steps, tokens_per_step=case.tokens_per_step)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hidden", type=int, default=256, help="hidden size, a multiple of 64")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--sequence-length", type=int, default=512)
    parser.add_argument("--sequences", type=int, default=4, help="sequences of a micro-step")
    parser.add_argument("--accumulation", type=int, default=2, help="micro-steps of a step")
    parser.add_argument("--zero-stage", type=int, choices=(1, 2), default=2)
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    return parser.parse_args(arguments)


def check_losses(steps: dict[str, list[Step]]) -> None:
    """Refuse to compare what does not train alike."""
    reference = [step.loss for step in steps[OURS]]
    print(f"our loss: {reference[0]:.4f} in the first step, {reference[-1]:.4f} in the last")
    for name, others in steps.items():
        apart = [abs(step.loss / loss - 1) for step, loss in zip(others, reference, strict=True)]
        if apart[0] > FIRST_LOSS_TOLERANCE or max(apart) > LOSS_TOLERANCE:
            raise RunFailure(f"{name} does not train as ours does: its losses are {[step.loss for step in others]}")
        print(f"{name}: loss apart by {apart[0]:.1e} in the first step and by {max(apart):.1e} at most (relative)")


def show(steps: dict[str, list[Step]], *, tokens_per_step: int) -> None:
    """Print the table as Markdown."""
    print(
        "\n| contender | tokens/s of processor time | by the clock | peak memory in a step | ever | ours / it: ", end=""
    )
    print("speed | by the clock | memory | target |\n|---|---|---|---|---|---|---|---|---|")
    for name, own in steps.items():
        cpu, clock = ([getattr(step, field) for step in own] for field in ("cpu_seconds", "seconds"))
        rates = " | ".join(
            f"{tokens_per_step / median(seconds):,.0f} ({tokens_per_step / min(seconds):,.0f})"
            for seconds in (cpu, clock)
        )
        peak, ever = peak_bytes(own), max(step.peak_bytes_ever for step in own)
        speed, by_clock = (ratio(own, steps[OURS], field) for field in ("cpu_seconds", "seconds"))
        memory = peak_bytes(steps[OURS]) / peak
        print(
            f"| {name} | {rates} | {peak / 1e6:,.0f} MB | {ever / 1e6:,.0f} MB | {speed:.2f} | {by_clock:.2f} | "
            f"{memory:.2f} | {TARGETS.get(name, '')} |"
        )


def ratio(theirs: list[Step], ours: list[Step], field: str) -> float:
    """Give the median over the rounds of how many times as long as ours a step took."""
    return median(getattr(other, field) / getattr(own, field) for other, own in zip(theirs, ours, strict=True))


def peak_bytes(steps: list[Step]) -> int:
    """Give the most memory of any step."""
    return max(step.peak_bytes for step in steps)


if __name__ == "__main__":
    run_program(main)
