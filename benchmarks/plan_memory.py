"""Plans against measurement: what `planning/memory.py` foretells beside what real trainings take, layout by layout.

On a processor it is the growth of a process's private memory after its imports, where "the host's" memory is the same
memory; on GPUs what torch has allocated, the plan's allowance left out, and beside it what torch has reserved.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_memory import peak_of
from training_world import LINEAR_LAYERS, Case, Shape, load_recipe, write_world

from codellama_train.console import UserError, print_table, run_program
from codellama_train.planning.memory import memory_of
from codellama_train.planning.shape import shape_of
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe

TOLERANCE = 0.10
STEPS = 2  # DeepSpeed makes the moments in the first
# glibc's own memory goes back to the system as soon as it is freed, so that what is seen is what is in use.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

# Narrow ones have many activations for their arithmetic.
NARROW = Shape(hidden_size=256, intermediate_size=704, num_hidden_layers=8, num_attention_heads=4)  # 23 million
WIDE = Shape(hidden_size=256, intermediate_size=4_096, num_hidden_layers=4, num_attention_heads=4)  # 30 million
SMALL = Shape(hidden_size=512, intermediate_size=1_408, num_hidden_layers=8, num_attention_heads=8)  # 58 million
MIDDLE = Shape(hidden_size=768, intermediate_size=2_048, num_hidden_layers=12, num_attention_heads=12)  # 134 million
LARGE = Shape(hidden_size=1_024, intermediate_size=2_816, num_hidden_layers=12, num_attention_heads=16)  # 220 million
CHECKPOINTING, LORA = (
    "machine.activation_checkpointing=true",
    ("lora.alpha=32", f"lora.target_modules={[*LINEAR_LAYERS]}"),
)


@dataclass(frozen=True)
class Row:
    """A training to plan and to measure; `micro_steps` are of each process, `overrides` as on the command line."""

    shape: Shape
    zero_stage: int = 1
    processes: int = 1
    sequence_length: int = 512
    sequences: int = 1
    micro_steps: int = 1
    overrides: tuple[str, ...] = ()


ROWS = {
    "ZeRO 1": Row(SMALL),
    "ZeRO 1, 3 micro-steps": Row(LARGE, micro_steps=3, overrides=(CHECKPOINTING,)),
    "ZeRO 1, 2 processes, 2 micro-steps": Row(MIDDLE, processes=2, micro_steps=2),
    "ZeRO 2": Row(LARGE, 2, overrides=(CHECKPOINTING,)),
    "ZeRO 2, 2 processes, 2 micro-steps": Row(MIDDLE, 2, processes=2, micro_steps=2),
    "ZeRO 3, 2 processes": Row(MIDDLE, 3, processes=2),
    "ZeRO 3, 2 processes, 2 micro-steps": Row(MIDDLE, 3, processes=2, micro_steps=2, overrides=(CHECKPOINTING,)),
    "ZeRO 2, optimizer on the host": Row(SMALL, 2, overrides=('machine.offload.optimizer="cpu"',)),
    "ZeRO 3, optimizer and weights on the host": Row(
        SMALL, 3, overrides=('machine.offload.optimizer="cpu"', 'machine.offload.parameters="cpu"')
    ),
    "8,192 tokens": Row(SMALL, 2, sequence_length=2_048, sequences=4),
    "40,960 tokens, checkpointing": Row(NARROW, 2, sequence_length=1_024, sequences=40, overrides=(CHECKPOINTING,)),
    "16,384 tokens, checkpointing": Row(WIDE, 2, sequence_length=1_024, sequences=16, overrides=(CHECKPOINTING,)),
    "20,480 tokens, tiles of 1,024": Row(
        WIDE, 2, sequence_length=1_024, sequences=20, overrides=("machine.mlp_tile_tokens=1024",)
    ),
    "4 sequences of 4,096 in 2 slices": Row(
        NARROW, 2, processes=2, sequence_length=4_096, sequences=4, overrides=("machine.sequence_parallel=2",)
    ),
    "documents apart, 2 heads of keys and values": Row(
        NARROW,
        2,
        sequence_length=4_096,
        sequences=2,
        overrides=("data.document_mask=true", "model.architecture.num_key_value_heads=2"),
    ),
    "LoRA, 12,288 tokens": Row(NARROW, sequence_length=1_024, sequences=12, overrides=("lora.rank=16", *LORA)),
    "DoRA, 8,192 tokens": Row(
        NARROW, sequence_length=1_024, sequences=8, overrides=("lora.rank=16", *LORA, "lora.use_dora=true")
    ),
    "LoRA on NF4, 12,288 tokens": Row(
        NARROW, sequence_length=1_024, sequences=12, overrides=("lora.rank=16", *LORA, 'lora.quantization="nf4"')
    ),
}


def main(arguments: Sequence[str]) -> None:
    """Train each row and print its plan, what was measured and their ratio; fails where they are too far apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), metavar="NAME", help="by default all")
    parser.add_argument("--rank-does", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rank_does:
        measure_in_this_process(*options.rank_does)
        return
    num_gpus = count_gpus()
    if not num_gpus:
        print("no GPU here: processors only", flush=True)
    lines, wrong = [], []
    with tempfile.TemporaryDirectory() as name:
        write_world(Path(name), num_tokens=500_000)
        for row in options.rows or ROWS:
            if num_gpus and ROWS[row].processes > num_gpus:
                print(f"{row}: skipped, as it needs {ROWS[row].processes} GPUs and there are {num_gpus}", flush=True)
                continue
            lines.append(compare(row, Path(name), on_gpu=bool(num_gpus)))
            print(" | ".join(lines[-1]), flush=True)
            if abs(float(lines[-1][-1]) - 1) > TOLERANCE:
                wrong.append(row)
    columns = ("training", "most in", "plan", "measured", *(["reserved"] if num_gpus else []), "ratio")
    print_table("memory of a training, gigabytes", columns, lines)
    if wrong:
        raise UserError(f"more than {TOLERANCE:.0%} apart: {', '.join(wrong)}")


def count_gpus() -> int:
    """Count the GPUs that torch sees, in a process of its own, as asking takes some of their memory."""
    program = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


def compare(name: str, folder: Path, *, on_gpu: bool) -> tuple[str, ...]:
    """Plan and measure one row."""
    row = ROWS[name]
    write_recipe(name, folder)
    recipe = recipe_of(name, folder)
    plan = memory_of(recipe, shape_of(recipe), num_devices=row.processes, on_gpu=on_gpu)
    planned = plan.total - plan.parts["allowance"] if on_gpu else plan.total + plan.host_total
    measured = max(run_processes(name, folder, row.processes))
    sizes = [f"{size / 1e9:.2f}" for size in (planned, *measured)]
    return name, plan.phase, *sizes, f"{planned / measured[0]:.3f}"


def write_recipe(name: str, folder: Path) -> None:
    """Write a row's recipe as a file."""
    row = ROWS[name]
    groups = row.processes // (2 if "machine.sequence_parallel=2" in row.overrides else 1)
    case = Case(
        row.shape, row.sequence_length, row.sequences, row.micro_steps * groups, steps=STEPS, zero_stage=row.zero_stage
    )
    load_recipe(folder, f"row_{list(ROWS).index(name)}", case)


def recipe_of(name: str, folder: Path) -> TrainingRecipe:
    """Load a row's recipe with its overrides, as a person would."""
    return load(TrainingRecipe, folder / f"row_{list(ROWS).index(name)}.toml", ROWS[name].overrides)


def run_processes(name: str, folder: Path, num_processes: int) -> list[list[int]]:
    """Train a row in so many processes and give the bytes that each took, and on a GPU those that torch reserved."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--rank-does", name, str(folder)],
            env={**os.environ, **ENVIRONMENT, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_processes)
    ]
    outputs = [process.communicate() for process in processes]
    if any(process.returncode for process in processes):
        raise UserError(f"{name}: a process failed:\n{outputs[0][1][-2_000:]}")
    return [json.loads(output.splitlines()[-1]) for output, _ in outputs]


def measure_in_this_process(name: str, folder: str) -> None:
    """Train a row as one of the processes, by the loop that scripts/train.py runs, and print the bytes that it took.

    What follows the last step, writing the finished model, is left out.
    """
    import torch

    from codellama_train import train as training

    recipe = recipe_of(name, Path(folder))
    training.finish = lambda run: run.watchdog.stop()
    grown = [peak_of(lambda: training.train(recipe))]
    if torch.cuda.is_available():
        grown = [torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()]
    print(json.dumps(grown))


if __name__ == "__main__":
    run_program(main)
