"""Read what a family's runs left behind; whatever is absent stays absent and is said so in the report."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.run_records import read_metrics

# The order of the paper's figure 2; runs of other names follow by name.
STAGE_ORDER = (
    *("base", "code_from_scratch", "code", "code_without_infilling"),
    *("python", "long_context", "python_long_context", "instruct", "lora"),
)


@dataclass(frozen=True)
class Run:
    """One run folder's records; None or empty where the run has none."""

    name: str
    recipe: dict[str, Any] | None
    source: dict[str, Any] | None
    metrics: list[dict[str, Any]]
    scores: dict[str, Any]
    items: dict[str, Any]  # of each probe


@dataclass(frozen=True)
class Pipeline:
    """All runs of one family, in the order of the stage graph, and the report of the data they were trained on."""

    name: str
    runs: dict[str, Run]
    data: dict[str, Any] | None


def read_pipeline(folder: Path, data_folder: Path) -> Pipeline:
    """Read every run folder under `folder`."""
    if not folder.is_dir():
        raise UserError(f"there are no runs at {folder}; scripts/train.py writes them")
    names = [path.name for path in folder.iterdir() if path.is_dir() and is_run(path)]
    if not names:
        raise UserError(f"{folder} holds no run: no folder in it has a recipe.toml, metrics.jsonl or scores.json")
    report = data_folder / "data_report.json"
    return Pipeline(
        name=folder.name,
        runs={name: read_run(folder / name) for name in sorted(names, key=stage_position)},
        data=artifacts.read_json(report) if report.is_file() else None,
    )


def is_run(folder: Path) -> bool:
    """Tell a run folder by what it holds."""
    return any((folder / name).is_file() for name in ("recipe.toml", "metrics.jsonl", "scores.json"))


def stage_position(name: str) -> tuple[int, str]:
    """Sort by the paper's stage graph, then by name."""
    return (STAGE_ORDER.index(name) if name in STAGE_ORDER else len(STAGE_ORDER), name)


def read_run(folder: Path) -> Run:
    """Read one run folder."""
    scores, recipe, source = folder / "scores.json", folder / "recipe.toml", folder / "source.json"
    items = {path.stem: artifacts.read_json(path)["items"] for path in sorted(folder.glob("scores/*.json"))}
    return Run(
        name=folder.name,
        recipe=tomllib.loads(recipe.read_text(encoding="utf-8")) if recipe.is_file() else None,
        source=artifacts.read_json(source) if source.is_file() else None,
        metrics=read_metrics(folder / "metrics.jsonl"),
        scores=artifacts.read_json(scores) if scores.is_file() else {},
        items=items if scores.is_file() else {},
    )
