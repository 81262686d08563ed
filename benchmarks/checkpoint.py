"""Saving and verifying checkpoints: how long a run stands still for them, and what of it is spent on what.

Two processes train a Llama with random weights for a step, and then save it in turn in each manner. The disk is the one
that holds `--folder`; a save counts as done when its bytes are on it, unless the table says otherwise.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from codellama_train import artifacts
from codellama_train.console import format_seconds, print_table, run_program
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe

PROJECT = Path(__file__).resolve().parent.parent
MOST_STALLED = 0.05  # of the time between saves
PARAMETERS_7B, TOKENS_PER_SECOND = 6_738_546_688, 11_000  # of a device: the speed that the project aims at
VOCABULARY = 16_384

RECIPE = """
runs = "{folder}"
[model]
tokenizer = "none"
rope_theta = 10_000.0
[model.architecture]
hidden_size = 1_024
intermediate_size = 2_816
num_hidden_layers = {layers}
num_attention_heads = 8
num_key_value_heads = 8
initializer_range = 0.02
[data]
sequence_length = 16
seed = 1
[data.sources.none]
shards = "none"
share = 1.0
[batch]
tokens_per_step = 32
total_tokens = 320
[optimizer]
peak_learning_rate = 1e-4
final_learning_rate_fraction = 0.1
warmup_steps = 0
betas = [0.9, 0.95]
epsilon = 1e-5
weight_decay = 0.1
gradient_clipping = 1.0
[machine]
zero_stage = {stage}
sequences_per_device = 1
activation_checkpointing = false
log_every_steps = 1
save_every_steps = 1
keep_checkpoints = 1
"""


def main(arguments: Sequence[str]) -> None:
    """Start the processes, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to save; by default the system's temporary folder")
    parser.add_argument("--layers", type=int, default=8, help="12.7 million parameters each, beside 34 million")
    parser.add_argument("--stages", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if "RANK" in os.environ:
        measure(options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
        launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_accelerators", str(options.processes)]
        shape = ["--layers", str(options.layers), "--rounds", str(options.rounds), "--folder", folder]
        probe.close()
        for stage in options.stages:
            command = [*launcher, "--master_port", port, __file__, *shape, "--stages", str(stage)]
            subprocess.run(command, check=True, cwd=PROJECT, env={"DS_ACCELERATOR": "cpu", **os.environ})


def measure(options: argparse.Namespace) -> None:
    """Save in each manner in turn, verify in each manner, and print what it took."""
    from codellama_train import checkpoint
    from codellama_train.disk_space import checkpoint_bytes
    from codellama_train.distributed import barrier, from_first, gathered, start_processes
    from codellama_train.shared_checksums import damage_together

    (stage,) = options.stages
    folder = options.folder / f"stage-{stage}"
    processes = start_processes()
    path = options.folder / f"stage-{stage}.toml"
    if processes.is_first:
        path.write_text(RECIPE.format(folder=folder, layers=options.layers, stage=stage))
    barrier()
    recipe = load(TrainingRecipe, path)
    engine, num_parameters = trained_engine(recipe, processes)
    position = checkpoint.Position(step=1, lanes=[], unlogged_sums=[])
    parts: list[dict[str, float]] = []

    def save_bare() -> None:
        engine.save_checkpoint(str(folder / "bare"), tag="engine", save_latest=False, exclude_frozen_parameters=True)

    def save_and_hash_alone() -> None:
        save_bare()
        if processes.is_first:
            files = [file for file in (folder / "bare").rglob("*") if file.is_file()]
            facts = {str(file.relative_to(folder / "bare")): artifacts.vouch_for(file) for file in files}
            artifacts.write_manifest(folder / "bare", {}, files=facts)
        barrier()

    def save_ours() -> None:
        parts.append(checkpoint.save(recipe, engine, position=position, processes=processes))

    def verify_alone() -> None:
        from_first(artifacts.verify_manifest(checkpoint.saved(recipe.run_dir)[0]) if processes.is_first else None)

    def verify_ours() -> None:
        assert not damage_together(checkpoint.saved(recipe.run_dir)[0], processes)

    manners: dict[str, Callable[[], None]] = {
        "DeepSpeed's files alone, left to the system's cache": save_bare,
        "all checksums by the first process": save_and_hash_alone,
        "ours": save_ours,
        "verifying by the first process": verify_alone,
        "verifying, ours": verify_ours,
    }
    seconds, own_cpu_seconds = in_turn(manners, rounds=options.rounds, clean=lambda: clean(folder / "bare", processes))
    everywhere = gathered(own_cpu_seconds)
    busiest = {name: max(own[name] for own in everywhere) for name in manners}
    if not processes.is_first:
        return
    size = sum(file.stat().st_size for file in checkpoint.saved(recipe.run_dir)[0].rglob("*") if file.is_file())
    show(stage, seconds, busiest, parts[1:], num_parameters=num_parameters, size=size)
    about = checkpoint_bytes(engine).about
    print(f"foretold {about:,} bytes, taken {size:,}: {about / size:.3f}")
    show_7b(size / num_parameters, size / median(seconds["ours"]))


def trained_engine(recipe: TrainingRecipe, processes: Any) -> tuple[Any, int]:
    """Give an engine after one step, so that its optimizer has state, and the number of parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from codellama_train.engine import start_engine
    from codellama_train.loss import LossHead, TrainingModel

    assert recipe.model.architecture is not None, "the recipe above has one"
    torch.manual_seed(0)
    rope: Any = {"rope_type": "default", "rope_theta": recipe.model.rope_theta}
    shape = recipe.model.architecture.model_dump(exclude={"vocab_size"})
    config = LlamaConfig(**shape, vocab_size=VOCABULARY, rope_parameters=rope, tie_word_embeddings=False)
    model = LlamaForCausalLM(config)
    model.lm_head = LossHead(model.lm_head)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    engine = start_engine(TrainingModel(model), config, recipe=recipe, processes=processes)
    ids = torch.zeros(1, recipe.data.sequence_length, dtype=torch.long)
    loss, _ = engine(ids, ids, None)
    engine.backward(loss, scale_wrt_gas=False)
    engine.step()
    return engine, num_parameters


def in_turn(
    manners: dict[str, Callable[[], None]], *, rounds: int, clean: Callable[[], None]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Time each manner once a round, after a first round that does not count, with all earlier writes on the disk.

    Gives its seconds by the clock, and the median of this process's seconds of processor, other threads included.
    """
    seconds: dict[str, list[float]] = {name: [] for name in manners}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in manners}
    for _ in range(rounds + 1):
        for name, run in manners.items():
            clean()
            started, cpu_started = time.perf_counter(), time.process_time()
            run()
            seconds[name].append(time.perf_counter() - started)
            cpu_seconds[name].append(time.process_time() - cpu_started)
    return (
        {name: values[1:] for name, values in seconds.items()},
        {name: median(values[1:]) for name, values in cpu_seconds.items()},
    )


def clean(folder: Path, processes: Any) -> None:
    """Remove what another manner saved, and let the disk come to rest."""
    from codellama_train.distributed import barrier

    if processes.is_first:
        shutil.rmtree(folder, ignore_errors=True)
        os.sync()
    barrier()


def show(
    stage: int,
    seconds: dict[str, list[float]],
    busiest: dict[str, float],
    parts: list[dict[str, float]],
    *,
    num_parameters: int,
    size: int,
) -> None:
    """Print each manner's median by the clock, and the processor's seconds of the busiest process."""
    middle = {name: median(values) for name, values in seconds.items()}
    rows: list[tuple[str, float, str, str]] = [
        (name, middle[name], f"{size / middle[name] / 1e6:,.0f}", f"{busiest[name]:.2f}") for name in seconds
    ]
    of_parts = {name: median(part[name] for part in parts) for name in parts[0]}
    rows[3:3] = [(f"  of it {name}", part, f"{part / middle['ours']:.0%}", "") for name, part in of_parts.items()]
    title = f"ZeRO {stage}, {num_parameters:,} parameters, {size / 1e9:.2f} GB in a checkpoint"
    print_table(title, ["", "seconds", "MB/s, or share", "busiest process"], rows)
    for what, peer, ours in (
        ("saving", "all checksums by the first process", "ours"),
        ("verifying", "verifying by the first process", "verifying, ours"),
    ):
        ratios = f"{middle[peer] / middle[ours]:.2f} by the clock, {busiest[peer] / busiest[ours]:.2f} by the processor"
        print(f"{what}, the first process alone to ours: {ratios}")


def show_7b(bytes_per_parameter: float, bytes_per_second: float) -> None:
    """Print what a save of 7B would mean between two saves of its recipe, at the speed measured here."""
    table = (PROJECT / "recipes/7b/code.toml").read_text(encoding="utf-8")
    numbers = dict(line.split("#")[0].split(" = ") for line in table.splitlines() if " = " in line)
    tokens = int(numbers["tokens_per_step"]) * int(numbers["save_every_steps"])
    size, rows = PARAMETERS_7B * bytes_per_parameter, []
    for devices in (8, 64, 512):
        interval = tokens / (devices * TOKENS_PER_SECOND)
        stall = size / bytes_per_second
        needed = size / (MOST_STALLED * interval)
        rows.append((devices, format_seconds(interval), format_seconds(stall), f"{stall / interval:.1%}", needed / 1e6))
    columns = ["devices", "between saves", "a save, at this rate", "stalled", f"MB/s for {MOST_STALLED:.0%}"]
    print_table(f"7B, {size / 1e9:.0f} GB in a checkpoint, {TOKENS_PER_SECOND:,} tokens/s a device", columns, rows)


if __name__ == "__main__":
    run_program(main)
