#!/usr/bin/env python3
"""Show what a recipe trains on: sequences of a step as text, or an audit of the first steps as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from codellama_train.console import Progress, run_program
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.audit import audit
from codellama_train.tokens.batches import open_mixture
from codellama_train.tokens.display import Shown, describe_row
from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.rows import IGNORED


def main(arguments: Sequence[str]) -> None:
    """Print sequences, or an audit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="dotted recipe keys, values as in TOML")
    parser.add_argument("--step", type=int, default=1, help="step whose sequences are shown (default 1)")
    parser.add_argument("--sequences", type=int, default=2, help="how many of its sequences (default 2)")
    parser.add_argument("--first", type=int, default=0, metavar="LANE", help="the first of them (default 0)")
    parser.add_argument("--audit", type=int, metavar="STEPS", help="instead, print as JSON what the first steps hold")
    options = parser.parse_intermixed_args(arguments)
    recipe = load(TrainingRecipe, options.recipe, options.overrides)
    lanes = range(options.first, options.first + options.sequences)
    if lanes.start < 0 or lanes.stop > recipe.sequences_per_step:
        parser.error(f"a step of this recipe has sequences 0 to {recipe.sequences_per_step - 1}")
    if options.step < 1 or (options.audit is not None and options.audit < 1):
        parser.error("steps count from 1")

    from codellama_train.model import load_tokenizer  # torch takes seconds to import

    mixture = open_mixture(recipe, load_tokenizer(recipe.model))
    if options.audit is not None:
        progress = Progress("reading", total=options.audit * recipe.batch.tokens_per_step, unit="tokens")
        print(json.dumps(audit(mixture, num_steps=options.audit, advance=progress.advance), indent=2))
        return
    for lane in lanes:
        show_sequence(mixture, lane, step=options.step)
    print("«…» is not predicted; ⟨…⟩ is a control token")


def show_sequence(mixture: Mixture, lane: int, *, step: int) -> None:
    """Print a lane's sequence of a step, after reading those before it."""
    console = Console(highlight=False, soft_wrap=True)
    state, is_predicted = mixture.initial_state(lane), False
    for _ in range(step - 1):
        row, state = mixture.next_row(lane, state)
        is_predicted = bool(row.labels[-1] != IGNORED)
    row, _ = mixture.next_row(lane, state)
    num_predicted = int((row.labels != IGNORED).sum())
    print(f"══ step {step:,}, sequence {lane}: {len(row.labels):,} tokens, {num_predicted:,} labels predicted ══")
    parts = [(shown.text, style_of(shown)) for shown in describe_row(mixture, row, is_first_predicted=is_predicted)]
    console.print(Text.assemble(*parts))


def style_of(shown: Shown) -> str:
    """Choose how a piece looks at a terminal; in a file it is plain."""
    if shown.is_heading:
        return "bold cyan"
    style = "bold magenta" if shown.is_control else ""
    return style if shown.is_predicted else f"{style} dim".strip()


if __name__ == "__main__":
    run_program(main)
