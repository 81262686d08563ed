#!/usr/bin/env python3
"""Score finished models: python scripts/evaluate.py RECIPE MODEL_OR_RUN_FOLDER [MORE ...] [key=value ...]."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codellama_train.console import UserError, print_table, run_program, with_progress
from codellama_train.evaluation.targets import targets
from codellama_train.recipe.evaluation import EvaluationRecipe
from codellama_train.recipe.loading import load


def main(arguments: Sequence[str]) -> None:
    """Evaluate every model named, skip what is up to date, and print the losses side by side."""
    parser = argparse.ArgumentParser(prog="evaluate.py", description=__doc__)
    parser.add_argument("recipe", type=Path, help="evaluation recipe, for example recipes/tiny/evaluation.toml")
    parser.add_argument(
        "models", nargs="+", metavar="model", help="run folder (with final/) or model folder; key=value"
    )
    parser.add_argument("--output", type=Path, help="where the scores of model folders outside a run go")
    options = parser.parse_intermixed_args(arguments)
    overrides = [text for text in options.models if "=" in text]
    paths = [Path(text) for text in options.models if "=" not in text]
    if not paths:
        raise UserError("no model is named; give one or more run folders, for example runs/tiny/code")
    recipe = load(EvaluationRecipe, options.recipe, overrides)
    found = targets(paths, options.output)
    # Threads that spin while they wait for each other make a busy machine ten times slower, not just a little.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    from codellama_train.evaluation.run import evaluate, use_all_cores  # torch takes seconds to import

    use_all_cores()
    scores = [
        (target, evaluate(recipe, target))
        for target in with_progress(found, "evaluation", total=len(found), unit="models")
    ]
    named = [(target.scores.name, each) for target, each in scores]
    print_losses(named)
    print_infilling(named)


def print_losses(scores: list[tuple[str, dict[str, Any]]]) -> None:
    """Print nats per token by model and source."""
    sources = list(dict.fromkeys(source for _, each in scores for source in each.get("loss", {})))
    if sources:
        rows = [[name, *(_loss(each, source) for source in sources)] for name, each in scores]
        print_table("held-out loss, nats per token", ["model", *sources], rows)


def _loss(scores: dict[str, Any], source: str) -> str:
    measured = scores.get("loss", {}).get(source)
    return f"{measured['nats_per_token']['value']:.3f}" if measured else "-"


def print_infilling(scores: list[tuple[str, dict[str, Any]]]) -> None:
    """Print nats per byte of the true middle of a line by model and by what is given."""
    measured = [
        (name, each["infilling"]["single_line"]["nats_per_byte"]) for name, each in scores if each.get("infilling")
    ]
    if measured:
        given = list(measured[0][1])
        rows = [[name, *(f"{values[key]['value']:.3f}" for key in given)] for name, values in measured]
        print_table("the middle of a held-out line, nats per byte", ["model", *given], rows)


if __name__ == "__main__":
    run_program(main)
