"""Training stages with those they descend from; recipes that contradict each other are refused as they are loaded.

A stage's parent is the run whose finished model it starts from: `{runs}/7b/code/final` is what recipes/7b/code.toml of
the same recipes folder makes, or else of the shipped one. Where there is no such file, the run folder's own recipe
serves; where there is neither, the model is a base like any other. Imports no torch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from codellama_train.console import UserError
from codellama_train.recipe.contradictions import Stated, refuse_contradictions
from codellama_train.recipe.loading import load, load_resolved, read_table, recipe_name
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import RECIPE_FILE

logger = logging.getLogger(__name__)

SHIPPED = Path("recipes")  # where scripts are run from
TRAINING_TABLES = ("model", "batch", "optimizer")  # which recipes of data and evaluations do not have


@dataclass(frozen=True, eq=False)
class Stage:
    """A training recipe, and the stage it starts from; None where that is a base or random weights."""

    path: Path
    recipe: TrainingRecipe
    overrides: tuple[str, ...]
    parent: Stage | None

    @property
    def ancestors(self) -> tuple[TrainingRecipe, ...]:
        """Give the recipes it descends from, the nearest first; of those that have been trained, as they were."""
        return tuple(stage.as_trained.recipe for stage in self.older())

    @cached_property
    def as_trained(self) -> Stated:
        """Give what its run folder was begun with, which decides what its model is; the recipe where there is none."""
        begun = _begun_in(self.recipe.run_dir, self.recipe.runs)
        return begun or Stated(self.path, self.recipe)

    @property
    def has_recipe(self) -> bool:
        """Tell whether it can be trained: a stage known by its run folder alone cannot."""
        return self.path != self.recipe.run_dir / RECIPE_FILE

    def older(self) -> Iterator[Stage]:
        """Go through the stages it descends from, the nearest first."""
        stage = self.parent
        while stage is not None:
            yield stage
            stage = stage.parent


def load_stage(path: Path, overrides: Sequence[str] = ()) -> Stage:
    """Read a training recipe and all it descends from; overrides are the recipe's own, but `runs` holds for all."""
    return _Lineages([path], overrides).stage(path)


def load_stages(places: Sequence[Path], overrides: Sequence[str] = ()) -> list[Stage]:
    """Read training recipes, and those of folders, parents before children; overrides are those of each one named."""
    paths = list(dict.fromkeys(path for place in places for path in training_recipes(place)))
    lineages = _Lineages(paths, overrides)
    named = [lineages.stage(path) for path in paths]
    return [stage for stage in with_ancestors(named) if stage in named]


def with_ancestors(stages: Iterable[Stage]) -> list[Stage]:
    """Give stages and all they descend from, each once and after its parent, a line of descent before the next."""
    every = list(dict.fromkeys(each for stage in stages for each in (*reversed([*stage.older()]), stage)))

    def below(parent: Stage | None) -> Iterator[Stage]:
        for stage in every:
            if stage.parent is parent:
                yield stage
                yield from below(stage)

    return list(below(None))


def training_recipes(place: Path) -> list[Path]:
    """List the training recipes of a folder by name; a file is its own list."""
    if not place.is_dir():
        return [place]
    paths = [path for path in sorted(place.glob("*.toml")) if is_training_recipe(path)]
    if not paths:
        below = sorted({str(path.parent) for path in place.rglob("*.toml") if is_training_recipe(path)})
        raise UserError(
            f"{place} holds no training recipe" + (f"; there are some in {', '.join(below)}" if below else "")
        )
    return paths


def is_training_recipe(path: Path) -> bool:
    """Tell a training recipe from those of data and evaluations, also one that is not quite right, by its tables."""
    try:
        return not read_table(path).keys().isdisjoint(TRAINING_TABLES)
    except UserError:
        return True  # to be refused by name


class _Lineages:
    """Loads stages once each, so that a parent is one and the same for all its children."""

    def __init__(self, named: Sequence[Path], overrides: Sequence[str]) -> None:
        self._named = {path.resolve() for path in named}
        self._overrides = tuple(overrides)
        self._loaded: dict[tuple[Path, str], Stage] = {}

    def stage(self, path: Path, *, runs: str | None = None, trail: tuple[Path, ...] = ()) -> Stage:
        """Load a recipe and its ancestors; `runs` is where the child that led here looks."""
        if path.resolve() in trail:
            names = " ← ".join(recipe_name(each) for each in (path, *reversed(trail[trail.index(path.resolve()) :])))
            raise UserError(f"{path} descends from itself: {names}; model.init_from of one of them is another model")
        overrides = self._overrides if path.resolve() in self._named else ()
        recipe = load(TrainingRecipe, path, overrides)
        if runs is not None and recipe.runs != runs:
            overrides = (*overrides, f"runs={json.dumps(runs)}")
            recipe = load(TrainingRecipe, path, overrides)
        key = (path.resolve(), recipe.runs)
        if key not in self._loaded:
            self._loaded[key] = self._complete(path, recipe, overrides, trail=(*trail, path.resolve()))
        return self._loaded[key]

    def _complete(
        self, path: Path, recipe: TrainingRecipe, overrides: tuple[str, ...], *, trail: tuple[Path, ...]
    ) -> Stage:
        parent = self._parent_of(path, recipe, trail)
        stage = Stage(path, recipe, overrides, parent)
        # An ancestor that overrides have trained otherwise than its file says is what it was trained as.
        stated = Stated(path, recipe) if path.resolve() in self._named else stage.as_trained
        refuse_contradictions(stated, [each.as_trained for each in stage.older()])
        return stage

    def _parent_of(self, path: Path, recipe: TrainingRecipe, trail: tuple[Path, ...]) -> Stage | None:
        if recipe.model.init_from is None:
            return None
        model = Path(recipe.model.init_from)
        run_dir = model.parent
        if model.is_relative_to(recipe.runs):
            name = run_dir.relative_to(recipe.runs)
            for root in (_root_of(path, recipe.name), SHIPPED):
                _refuse_run_folder(path, recipe, root)
                parent = root / name.with_name(f"{name.name}.toml") if name.name else root
                if parent.is_file():
                    return self.stage(parent, runs=recipe.runs, trail=trail)
        return self._known_by_its_run(run_dir, recipe.runs, trail)

    def _known_by_its_run(self, run_dir: Path, runs: str, trail: tuple[Path, ...]) -> Stage | None:
        begun = _begun_in(run_dir, runs if run_dir.is_relative_to(runs) else str(run_dir.parent))
        if begun is None or begun.path.resolve() in trail:
            return None
        key = (begun.path.resolve(), begun.recipe.runs)
        if key not in self._loaded:
            parent = self._parent_of(begun.path, begun.recipe, (*trail, key[0]))
            self._loaded[key] = Stage(begun.path, begun.recipe, (), parent)
        return self._loaded[key]


def _root_of(path: Path, name: str) -> Path:
    """Give the folder from which a recipe has its name."""
    depth = name.count("/")
    return path.parents[depth] if depth < len(path.parents) else path.resolve().parents[depth]


def _refuse_run_folder(path: Path, recipe: TrainingRecipe, root: Path) -> None:
    """Refuse a run folder in place of the model in it."""
    model = Path(str(recipe.model.init_from))
    name = model.relative_to(recipe.runs)
    if name.name and (root / name.with_name(f"{name.name}.toml")).is_file():
        raise UserError(
            f"{path}: model.init_from={str(model)!r} is a run folder; use the model in it, {str(model / 'final')!r}"
        )


def _begun_in(run_dir: Path, runs: str) -> Stated | None:
    """Read what a run folder was begun with; None where there is none, or one that this version cannot read."""
    path, name = run_dir / RECIPE_FILE, run_dir.relative_to(runs).as_posix()
    if not path.is_file():
        return None
    try:
        return Stated(path, load_resolved(TrainingRecipe, path, name=name, runs=runs))
    except UserError as error:
        logger.warning("nothing is compared with that run: %s", error)
        return None
