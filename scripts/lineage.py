"""Draw the stages of a family, or those a recipe descends from, and where their runs stand; with --run, train them.

python scripts/lineage.py FAMILY_OR_RECIPE … [key=value …] [--run [--num-accelerators N]]     for example recipes/7b

Run again, --run continues: what is complete is skipped, what was stopped resumes. Ctrl-C, SIGTERM or SIGUSR1 lets the
running stage save its last update first; a second one kills it. Where a stage fails, those made from it are left out
and the others go on. Exit code: 0 all complete, 1 a stage failed, 2 refused before anything began, 130 stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from codellama_train.console import run_program
from codellama_train.recipe.lineage import load_stages
from codellama_train.run_state import states_of
from codellama_train.stage_runs import refuse_obstacles, stages_to_train, train_stages
from codellama_train.stage_tree import print_stages


def main(arguments: Sequence[str]) -> None:
    """Draw the stages, and train what is left of them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "places", nargs="+", type=Path, metavar="FAMILY_OR_RECIPE", help="folders of recipes, or recipes"
    )
    parser.add_argument("--run", action="store_true", help="train what is not complete, parents before children")
    parser.add_argument("--num-accelerators", type=int, help="processes on this machine; by default one per device")
    given, overrides = [text for text in arguments if not _is_override(text)], [*filter(_is_override, arguments)]
    options = parser.parse_args(given)
    if options.num_accelerators is not None and (options.num_accelerators < 1 or not options.run):
        parser.error("--num-accelerators is at least 1, and goes with --run")
    stages = load_stages(options.places, overrides)
    states = states_of(stages)
    print_stages(stages, states)
    if not options.run:
        return
    wanted = stages_to_train(stages, states)
    refuse_obstacles(wanted, states)
    try:
        train_stages(wanted, Path(__file__).with_name("train.py"), num_accelerators=options.num_accelerators)
    finally:
        if wanted:
            print()
            print_stages(stages, states_of(stages))


def _is_override(text: str) -> bool:
    """Tell `key=value`, the keys of the recipes that are named, from options and paths."""
    return "=" in text and not text.startswith("-") and not Path(text).exists()


if __name__ == "__main__":
    run_program(main)
