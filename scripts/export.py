"""Write a run's newest checkpoint as a Hugging Face folder: `python scripts/export.py RECIPE FOLDER [key=value …]`.

A finished run already has one at RUN/final; this gives the model of a run that is still under way or was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from codellama_train.console import UserError, run_program
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import examine


def main(arguments: Sequence[str]) -> None:
    """Export the newest whole checkpoint of the recipe's run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("folder", type=Path, help="where the model goes; must not exist")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args(arguments)
    recipe = load(TrainingRecipe, options.recipe, options.overrides)
    if options.folder.exists():
        raise UserError(f"{options.folder} exists already; name a folder that does not")
    if examine(recipe) == "new":
        raise UserError(
            f"{recipe.run_dir} holds no run yet; train it with: deepspeed scripts/train.py {options.recipe}"
        )
    from codellama_train.export import export_checkpoint

    step = export_checkpoint(recipe, options.folder)
    print(f"wrote step {step:,} of {recipe.name} to {options.folder}")


if __name__ == "__main__":
    run_program(main)
