"""Read what a data run left behind: its report, what its stages' manifests say besides, and the recipes that use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.implied_epochs import recipes_that_use, shipped_recipes_that_use

DATA_REPORT = "data_report.json"


@dataclass(frozen=True)
class DataRun:
    """A finished data run; `manifests` are those of its stages, `recipes` the training recipes that draw from it."""

    folder: Path
    report: dict[str, Any]
    manifests: dict[str, dict[str, Any]]
    recipes: list[TrainingRecipe]

    @property
    def sources(self) -> list[str]:
        """Name the sources."""
        return list(self.report["stages"]["ingest"])

    @property
    def account(self) -> dict[str, Any]:
        """Give what is counted of each source's tags; empty where the run wrote none."""
        tags: dict[str, Any] = self.report.get("tags", {})
        return tags

    def ingested(self, source: str, unit: str) -> int:
        """Count the documents or bytes that ingest made of a source."""
        count: int = self.report["stages"]["ingest"][source][f"{unit}_out"]
        return count

    def stages_of(self, source: str) -> dict[str, dict[str, int]]:
        """Give the counts of each stage that decides about a source's documents, in order."""
        return {stage: counts[source] for stage, counts in self.report["stages"].items() if source in counts}

    def view_manifest(self, view: str, split: str = "train") -> dict[str, Any] | None:
        """Read the manifest of one side of a set of shards."""
        return artifacts.read_manifest(self.folder / "shards" / view / split)


def is_data_run(folder: Path) -> bool:
    """Tell a data run, finished or not, by what it holds."""
    return any((folder / name).exists() for name in (DATA_REPORT, "ingest", ".ingest.partial"))


def read_data_run(folder: Path, recipes: Sequence[Path] | None) -> DataRun:
    """Read a data run; without `recipes`, those shipped in ./recipes that use its shards are taken."""
    if not (folder / DATA_REPORT).is_file():
        raise UserError(f"{folder} holds a data run that is not finished; scripts/prepare_data.py continues it")
    report = artifacts.read_json(folder / DATA_REPORT)
    manifests = {stage: artifacts.read_manifest(folder / stage) or {} for stage in report["stages"]}
    runs = runs_folder(folder, report["recipe"])
    if recipes is None:
        found = shipped_recipes_that_use(folder, Path("recipes"), runs)
    else:
        found = recipes_that_use(folder, recipes, runs)
    return DataRun(folder, report, manifests, found)


def runs_folder(folder: Path, recipe: str) -> Path:
    """Give the folder in which the run's name is its path: runs/data/tiny is run data/tiny of runs."""
    return folder.resolve().parents[len(Path(recipe).parts) - 1]
