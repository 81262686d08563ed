"""Turn source files into token shards: `python scripts/prepare_data.py RECIPE [key=value …]`; again, it continues."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from codellama_train.console import run_program
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.loading import load
from codellama_train.tokens.implied_epochs import print_epochs, shipped_recipes_that_use
from data_prep.pipeline import prepare
from data_prep.plan import print_plan
from data_prep.report import REPORT_FILE, print_report


def main(arguments: Sequence[str]) -> None:
    """Check the recipe, then do every stage that is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="dotted recipe keys, values as in TOML")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done and touch nothing")
    options = parser.parse_args(arguments)
    recipe = load(DataRecipe, options.recipe, options.overrides)
    if options.dry_run:
        print_plan(recipe)
        return
    print_report(prepare(recipe))
    print_epochs(shipped_recipes_that_use(recipe.run_dir, Path("recipes"), Path(recipe.runs)))
    print(
        f"{recipe.run_dir / REPORT_FILE} says what was left out, and why; scripts/report.py {recipe.run_dir} draws it."
    )


if __name__ == "__main__":
    run_program(main)
