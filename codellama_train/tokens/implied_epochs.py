"""The epochs that a training recipe implies: what it draws of each source, over what the source's shards hold.

What the paper's table 1 says of its own mixture, known before a step is trained. Rows of dialogues, which are
never cut, end in some padding; of those a little less is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codellama_train import artifacts
from codellama_train.console import UserError, print_table
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe


@dataclass(frozen=True)
class ImpliedSource:
    """One source of a training recipe; `tokens_available` is None where its shards are not there yet."""

    name: str
    shards: Path
    share: float
    tokens_drawn: float
    tokens_available: int | None

    @property
    def epochs(self) -> float | None:
        """How often the recipe sees every document of the source, on average."""
        return self.tokens_drawn / self.tokens_available if self.tokens_available else None


def implied_sources(recipe: TrainingRecipe) -> list[ImpliedSource]:
    """Give what a recipe draws and what there is, source by source."""
    total = recipe.steps * recipe.batch.tokens_per_step
    return [
        ImpliedSource(name, source.shards, source.share, source.share * total, tokens_of_stream(source.shards))
        for name, source in recipe.data.sources.items()
    ]


def tokens_of_stream(shards: Path) -> int | None:
    """Count the tokens that training reads in one epoch: documents get BOS and EOS, dialogues bring their own."""
    manifest = artifacts.read_manifest(shards)
    if manifest is None:
        return None
    tokens: int = manifest["tokens"] + (0 if manifest["kind"] == "dialogues" else 2 * manifest["documents"])
    return tokens


def mixtures(recipes: Sequence[TrainingRecipe]) -> list[tuple[list[str], list[ImpliedSource]]]:
    """Give each different mixture, with the names of the recipes that draw it."""
    found: list[tuple[list[str], list[ImpliedSource]]] = []
    for recipe in recipes:
        sources = implied_sources(recipe)
        same = next((names for names, other in found if other == sources), None)
        if same is None:
            found.append(([recipe.name], sources))
        else:
            same.append(recipe.name)
    return found


def print_epochs(recipes: Sequence[TrainingRecipe]) -> None:
    """Print what recipes draw of their sources, as the paper's table 1 does."""
    rows = [
        [", ".join(names) if place == 0 else "", source.name, f"{source.share:.0%}", round(source.tokens_drawn), *there]
        for names, sources in mixtures(recipes)
        for place, source in enumerate(sources)
        for there in [(source.tokens_available or "no shards yet", _rounded(source.epochs))]
    ]
    if rows:
        columns = ["training recipe", "source", "share", "tokens drawn", "tokens there", "epochs"]
        print_table("Epochs that training recipes draw", columns, rows)


def _rounded(epochs: float | None) -> str:
    return "" if epochs is None else f"{epochs:.2f}"


def recipes_that_use(folder: Path, paths: Sequence[Path], runs: Path) -> list[TrainingRecipe]:
    """Load the training recipes that draw from shards below `folder`, as they are with `runs` as their runs folder."""
    recipes = [load(TrainingRecipe, path, [f"runs={runs}"]) for path in paths]
    return [recipe for recipe in recipes if uses(recipe, folder)]


def shipped_recipes_that_use(folder: Path, recipes_folder: Path, runs: Path) -> list[TrainingRecipe]:
    """Find the recipes below a folder that draw from shards below `folder`, passing over those of other kinds."""
    return [recipe for path in sorted(recipes_folder.rglob("*.toml")) for recipe in _if_training(path, folder, runs)]


def _if_training(path: Path, folder: Path, runs: Path) -> Iterable[TrainingRecipe]:
    try:
        return recipes_that_use(folder, [path], runs)
    except UserError:  # a recipe of data or of an evaluation
        return []


def uses(recipe: TrainingRecipe, folder: Path) -> bool:
    """Tell whether a recipe draws from shards below a folder."""
    return any(source.shards.resolve().is_relative_to(folder.resolve()) for source in recipe.data.sources.values())
