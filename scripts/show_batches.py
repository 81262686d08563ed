#!/usr/bin/env python3
"""Show what a recipe trains on: the first rows of a lane as text, then the shares and infilling rates realised."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from codellama_train.console import Progress, print_table, run_program
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.batches import open_mixture
from codellama_train.tokens.display import describe_row
from codellama_train.tokens.lanes import LaneState, Mixture, summarise
from codellama_train.tokens.rows import IGNORED


def main(arguments: Sequence[str]) -> None:
    """Print rows, then tables over the first steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="dotted recipe keys, values as in TOML")
    parser.add_argument("--rows", type=int, default=2, help="rows to print (default 2)")
    parser.add_argument("--lane", type=int, default=0, help="lane whose rows are printed (default 0)")
    parser.add_argument("--steps", type=int, default=25, help="steps that the tables count (default 25)")
    options = parser.parse_intermixed_args(arguments)
    recipe = load(TrainingRecipe, options.recipe, options.overrides)
    if not 0 <= options.lane < recipe.sequences_per_step:
        parser.error(f"--lane {options.lane}: the recipe has lanes 0 to {recipe.sequences_per_step - 1}")

    from codellama_train.model import load_tokenizer  # torch takes seconds to import

    mixture = open_mixture(recipe, load_tokenizer(recipe.model))
    print_rows(mixture, lane=options.lane, num_rows=options.rows)
    if options.steps > 0:
        print_statistics(mixture, num_steps=options.steps)


def print_rows(mixture: Mixture, *, lane: int, num_rows: int) -> None:
    """Print the first rows of a lane."""
    state, is_predicted = mixture.initial_state(lane), False
    for number in range(1, num_rows + 1):
        row, state = mixture.next_row(lane, state)
        num_predicted = int((row.labels != IGNORED).sum())
        print(f"\n══ lane {lane}, step {number}: {len(row.labels):,} tokens, {num_predicted:,} labels predicted ══")
        print(describe_row(mixture, row, is_first_predicted=is_predicted))
        is_predicted = bool(row.labels[-1] != IGNORED)
    if num_rows > 0:
        print("\n«…» is not predicted; ⟨…⟩ is a control token\n")


def print_statistics(mixture: Mixture, *, num_steps: int) -> None:
    """Print what all lanes together read in the first steps."""
    states = [mixture.initial_state(lane) for lane in range(mixture.num_lanes)]
    progress = Progress("reading", total=num_steps * mixture.num_lanes * mixture.sequence_length, unit="tokens")
    shares = []
    for _ in range(num_steps):
        for lane in range(mixture.num_lanes):
            _, states[lane] = mixture.next_row(lane, states[lane])
            progress.advance(mixture.sequence_length)
        shares.append(shares_of(mixture, states))
    summary = summarise(mixture, states)
    print_table(
        f"sources over the first {num_steps:,} steps of {mixture.num_lanes:,} lanes",
        ["source", "share asked", "in step 1", "in all steps", "tokens", "epochs"],
        [
            (
                source.name,
                f"{share:.2%}",
                f"{shares[0][index]:.2%}",
                f"{shares[-1][index]:.2%}",
                summary["tokens_by_source"][source.name],
                summary["epochs_by_source"][source.name],
            )
            for index, (source, share) in enumerate(zip(mixture.sources, mixture.shares, strict=True))
        ],
    )
    rates = [
        (name.replace("_", " "), f"{summary[name]:.2%}")
        for name in ("infilled_documents_fraction", "infilled_tokens_fraction")
        if summary[name] is not None
    ]
    if rates:
        print_table("infilling", ["", "realised"], rates)


def shares_of(mixture: Mixture, states: Sequence[LaneState]) -> list[float]:
    """Give each source's share of the tokens read so far."""
    tokens = summarise(mixture, states)["tokens_by_source"]
    return [tokens[source.name] / sum(tokens.values()) for source in mixture.sources]


if __name__ == "__main__":
    run_program(main)
