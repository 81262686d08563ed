"""Training a 7B shape on one GPU: all weights, and LoRA beside Trainer with peft and Liger, at 4,096 and 16,384 tokens.

Weights are random and made on the device; nothing is downloaded. Each case is a process of its own, takes a warm-up
step and then steps for some seconds, and ends with "out of memory" where it does not fit. Prints Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from gpu_trainings import OURS, PEER, describe_device, train_case
from pacing import Step, spawning, started
from training_world import Case, Shape, write_world

from codellama_train.console import UserError, run_program
from codellama_train.flops import FORMULA, peak_flops

SEVEN_BILLION = Shape(4_096, 11_008, 32, 32)  # Llama 2 7B
TINY = Shape(64, 172, 2, 1)
VOCABULARY_SIZE, RANK = 32_016, 16
GB = 10**9
ENOUGH_WITHOUT_OFFLOAD = 130 * GB
SMALL_CARD = 22.5 * 2**30  # of a 24 GB card's memory, what is left for torch's tensors
WARM_UP_STEPS = 1
TARGETS = {
    "LoRA, 4,096": "≥ 1.25 x the peer in the fastest layout, ≥ 1.0 x within 24 GB",
    "all weights, 4,096": "≥ 11,000 tokens/s",
    "all weights, 16,384": "≥ 8,000 tokens/s",
}


@dataclass(frozen=True)
class Entry:
    """A row of the table; `what` is common to all that are compared."""

    what: str
    contender: str
    case: Case
    expected_seconds: int
    memory_limit_bytes: int | None = None

    @property
    def layout(self) -> str:
        """Say how the case is run."""
        case = self.case
        words = [f"{case.sequences_per_device} x {case.accumulation} sequences"]
        words += ["activation checkpointing"] if case.activation_checkpointing else []
        words += ["optimizer in main memory"] if case.offload else []
        words += [f"{case.kernels} kernels"] if case.kernels else []
        words += ["compiled"] if case.compile else []
        words += [f"at most {self.memory_limit_bytes / 2**30:.1f} GiB"] if self.memory_limit_bytes else []
        return ", ".join(words)


def main(arguments: Sequence[str]) -> None:
    """Measure the cases one after another and print a row for each as it ends."""
    options = parse(arguments)
    if options.device == "cpu":
        os.environ.update(OMP_NUM_THREADS="1", DS_ACCELERATOR="cpu", CUDA_VISIBLE_DEVICES="")
        name, memory_bytes = "processor", 0
    else:
        with spawning.Pool(1) as pool:
            name, memory_bytes = pool.apply(describe_device)
        if not memory_bytes:
            raise UserError(
                "--device=cuda needs a GPU, and torch finds none; --device cpu --tiny tries the program out"
            )
    deadline = time.monotonic() + 60 * options.minutes
    shape = TINY if options.tiny else SEVEN_BILLION
    print(f"{name}, {', '.join(installed())}\n")
    print(f"MFU: tokens/s x FLOPs per token / the dense bfloat16 peak. FLOPs {FORMULA}.\n")
    print("| what | whose | layout | tokens/s (best) | MFU | peak memory | loss, first and last | ours / peer |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    best_of_peer: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_world(Path(folder), num_tokens=100_000 if options.tiny else 2_000_000)
        for entry in entries(shape, memory_bytes, options):
            outcome = measure(entry, Path(folder), options, deadline)
            if entry.contender == PEER and isinstance(outcome, list):
                rate = tokens_per_second(entry, outcome)
                best_of_peer[entry.what] = max(rate, best_of_peer.get(entry.what, 0.0))
            print(row(entry, outcome, device=name, peer=best_of_peer.get(entry.what)), flush=True)
    print("\n" + "\n".join(f"Target, {what}: {target}." for what, target in TARGETS.items()))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a toy shape and short sequences, to try the program out")
    parser.add_argument("--minutes", type=float, default=9.5, help="no case is begun that would not end within them")
    parser.add_argument("--seconds", type=float, default=12.0, help="to measure a case for, once it is warm")
    parser.add_argument("--steps", type=int, default=12, help="at most, to measure of a case")
    parser.add_argument("--cases", default="", help="only those whose row matches this regular expression")
    return parser.parse_args(arguments)


def installed() -> Iterator[str]:
    """Name the versions that matter, and what is missing."""
    for package in ("torch", "deepspeed", "transformers", "peft", "liger-kernel"):
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"no {package}"


def entries(shape: Shape, memory_bytes: int, options: argparse.Namespace) -> Iterator[Entry]:
    """List the cases, the most important first; a peer goes before what is compared with it."""
    on_gpu = options.device == "cuda"
    for entry in (*lora_entries(shape), *full_entries(shape, offload=memory_bytes < ENOUGH_WITHOUT_OFFLOAD)):
        case = entry.case
        if not on_gpu:
            case = replace(case, kernels=None, compile=False)
        if options.tiny:
            case = replace(case, sequence_length=case.sequence_length // 64)
        if re.search(options.cases, f"{entry.what}, {entry.contender}, {entry.layout}"):
            yield replace(entry, case=case)


def lora_entries(shape: Shape) -> Iterator[Entry]:
    """List LoRA on all linear layers: the peer's layouts, ours, and ours on a small card."""

    def lora(contender: str, length: int, sequences: int, accumulation: int, **how: Any) -> Entry:
        limit = how.pop("limit", None)
        case = Case(shape, length, sequences, accumulation, steps=200, lora_rank=RANK, **how)
        return Entry(f"LoRA, {length:,}", contender, case, 75 if case.compile else 40, limit)

    checkpointing = {"activation_checkpointing": True}
    yield lora(PEER, 4_096, 2, 4)
    yield lora(PEER, 4_096, 8, 1, **checkpointing)
    yield lora(OURS, 4_096, 2, 4, compile=True)
    yield lora(OURS, 4_096, 2, 4, kernels="liger")
    yield lora(OURS, 4_096, 2, 4)
    yield lora(OURS, 4_096, 1, 8, limit=int(SMALL_CARD), kernels="liger", **checkpointing)
    yield lora(PEER, 16_384, 1, 2, **checkpointing)
    yield lora(OURS, 16_384, 1, 2, kernels="liger", **checkpointing)
    yield lora(OURS, 16_384, 2, 1, **checkpointing)


def full_entries(shape: Shape, *, offload: bool) -> Iterator[Entry]:
    """List training of all weights; with the optimizer in main memory steps are larger, so that it counts less."""
    accumulation, expected = (8, 130) if offload else (1, 50)
    for length, sequences in ((4_096, 8), (16_384, 2)):
        case = Case(shape, length, sequences, accumulation, steps=50, zero_stage=2, activation_checkpointing=True)
        case = replace(case, offload=offload, kernels="liger")
        yield Entry(f"all weights, {length:,}", OURS, case, expected)


def measure(entry: Entry, folder: Path, options: argparse.Namespace, deadline: float) -> list[Step] | str:
    """Give the steps of a case after the warm-up, or why there are none."""
    left = deadline - time.monotonic()
    if left < entry.expected_seconds and not options.tiny:
        return "not begun, the time is up"
    run_folder = Path(tempfile.mkdtemp(dir=folder))
    for name in ("tokenizer", "shards"):
        (run_folder / name).symlink_to(folder / name)
    arguments = (entry.contender, run_folder, entry.case, entry.memory_limit_bytes)
    with started(train_case, {"case": arguments}, context=context_of(options)) as pipes:
        return collect(pipes["case"], options, until=min(deadline, time.monotonic() + 2 * entry.expected_seconds))


def context_of(options: argparse.Namespace) -> Any:
    """Start processes anew where there is a GPU, which does not outlive a fork; without one, save the imports."""
    if options.device == "cuda":
        return spawning
    multiprocessing.set_forkserver_preload(["gpu_trainings"])
    return multiprocessing.get_context("forkserver")


def collect(pipe: Any, options: argparse.Namespace, *, until: float) -> list[Step] | str:
    """Let a case make its steps."""
    steps: list[Step] = []
    while True:
        if not pipe.poll(max(until - time.monotonic(), 0.1)):
            return steps[WARM_UP_STEPS:] or "no step in its time"
        try:
            message = pipe.recv()
        except EOFError:
            return "its process died, as when main memory is short"
        if isinstance(message, str):
            return message
        steps.append(message)
        measured = steps[WARM_UP_STEPS:]
        if len(measured) >= options.steps or sum(step.seconds for step in measured) > options.seconds:
            return measured
        pipe.send(True)


def row(entry: Entry, outcome: list[Step] | str, *, device: str, peer: float | None) -> str:
    """Write a row of the table."""
    begin = f"| {entry.what} | {entry.contender} | {entry.layout} |"
    if isinstance(outcome, str):
        return f"{begin} {outcome} | | | | |"
    rate, case = tokens_per_second(entry, outcome), entry.case
    best = case.tokens_per_step / min(step.seconds for step in outcome)
    peak = peak_flops(device)
    share = f"{rate * flops_per_token(case) / peak:.1%}" if peak else "peak not known"
    ratio = f"{rate / peer:.2f}" if peer and entry.contender == OURS else ""
    memory = f"{max(step.peak_bytes for step in outcome) / 2**30:.1f} GiB"
    losses = f"{outcome[0].loss:.2f}, {outcome[-1].loss:.2f}"
    return f"{begin} {rate:,.0f} ({best:,.0f}) | {share} | {memory} | {losses} | {ratio} |"


def tokens_per_second(entry: Entry, steps: list[Step]) -> float:
    """Give the median over the steps."""
    return entry.case.tokens_per_step / median(step.seconds for step in steps)


def flops_per_token(case: Case) -> int:
    """Count a training step's floating-point operations per token, as FORMULA says."""
    shape = case.shape
    in_layer = 4 * shape.hidden_size**2 + 3 * shape.hidden_size * shape.intermediate_size
    matrices = shape.num_hidden_layers * in_layer + shape.hidden_size * VOCABULARY_SIZE
    attention = 6 * shape.num_hidden_layers * shape.hidden_size * case.sequence_length
    if case.lora_rank is None:
        return 6 * matrices + attention
    sides = 4 * 2 * shape.hidden_size + 3 * (shape.hidden_size + shape.intermediate_size)
    return 4 * matrices + 6 * case.lora_rank * shape.num_hidden_layers * sides + attention


if __name__ == "__main__":
    run_program(main)
