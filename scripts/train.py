"""Train a recipe: `deepspeed [--num_accelerators N] scripts/train.py RECIPE [key=value …]`; run again, it resumes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from codellama_train.console import run_program
from codellama_train.planning.derived_numbers import print_derived_numbers
from codellama_train.recipe.lineage import load_stage
from codellama_train.rendezvous import require_free_port
from codellama_train.run_folder import examine
from codellama_train.stopping import defer_requests


def main(arguments: Sequence[str]) -> None:
    """Check the recipe and its run folder, then train what is left of it."""
    defer_requests()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="dotted recipe keys, values as in TOML")
    parser.add_argument("--dry-run", action="store_true", help="print every derived number and touch nothing")
    parser.add_argument("--devices", type=int, default=int(os.environ.get("WORLD_SIZE", "1")), help="for --dry-run")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # given by the launcher
    options = parser.parse_intermixed_args(arguments)
    recipe = load_stage(options.recipe, options.overrides).recipe
    if options.dry_run:
        print_derived_numbers(recipe, num_ranks=options.devices)
        return
    if examine(recipe) == "complete":
        if os.environ.get("RANK", "0") == "0":
            print(f"{recipe.name} is complete: {recipe.run_dir / 'final'}")
        return
    require_free_port()
    limit_threads()
    from codellama_train.train import train  # imports torch, which reads the number of threads

    train(recipe)


def limit_threads() -> None:
    """Share the processor's cores among the processes of this machine: more threads than cores wait for each other."""
    processes = int(os.environ.get("LOCAL_SIZE") or os.environ.get("LOCAL_WORLD_SIZE") or 1)  # deepspeed, torchrun
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // processes, 1)))


if __name__ == "__main__":
    run_program(main)
