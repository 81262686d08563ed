"""The line from raw files to shards: eight stages, each done again only when something that it reads changes."""

from __future__ import annotations

import logging
import shutil
from typing import Any

from codellama_train import artifacts
from codellama_train.recipe.data import DataRecipe
from data_prep import decontaminate, deduplicate, filter, ingest, split, tag, train_tokenizer, write_shards  # noqa: A004
from data_prep.removal_requests import ledger_keys
from data_prep.report import REPORT_FILE, data_report
from data_prep.stage import Stage, do, is_up_to_date
from data_prep.tag_account import tag_account
from data_prep.work import Work

logger = logging.getLogger(__name__)


def _dump(value: Any) -> Any:
    """Give a recipe table as JSON."""
    return value.model_dump(mode="json") if value is not None else None


STAGES = (
    Stage(
        "ingest",
        ingest.__name__,
        ingest.run,
        ingest.inputs_of,
        (),
    ),
    Stage("tag", tag.__name__, tag.run, lambda _: None, ("ingest",)),
    Stage(
        "filter",
        filter.__name__,
        filter.run,
        lambda recipe: [filter.inputs_of(recipe), ledger_keys(recipe.run_dir)],
        ("ingest", "tag"),
    ),
    Stage(
        "deduplicate",
        deduplicate.__name__,
        deduplicate.run,
        deduplicate.inputs_of,
        ("ingest", "tag", "filter"),
    ),
    Stage(
        "decontaminate",
        decontaminate.__name__,
        decontaminate.run,
        decontaminate.inputs_of,
        ("ingest", "tag", "filter", "deduplicate"),
    ),
    Stage(
        "split",
        split.__name__,
        split.run,
        lambda recipe: _dump(recipe.held_out),
        ("ingest", "tag", "deduplicate", "decontaminate"),
    ),
    Stage(
        "tokenizer",
        train_tokenizer.__name__,
        train_tokenizer.run,
        train_tokenizer.inputs_of,
        ("ingest", "tag", "split"),
    ),
    Stage(
        "shards",
        write_shards.__name__,
        write_shards.run,
        lambda recipe: [[[name, _dump(view)] for name, view in recipe.shards.items()], _dump(recipe.redaction)],
        ("ingest", "tag", "split", "tokenizer"),
    ),
)


def prepare(recipe: DataRecipe) -> dict[str, Any]:
    """Do every stage that is not up to date, write `data_report.json` and return its content."""
    check(recipe)
    run_dir = recipe.run_dir.resolve()  # workers may start elsewhere
    position = 0
    while position < len(STAGES):
        stage = STAGES[position]
        if is_up_to_date(stage, recipe, run_dir):
            logger.info("%s: up to date", stage.name)
        elif (bad := _corrupt_input(stage, recipe)) is not None:
            shutil.rmtree(recipe.run_dir / bad)
            position = 0
            continue
        else:
            logger.info("%s: starting", stage.name)
            do(stage, recipe, run_dir)
        position += 1
    manifests = {stage.name: _manifest(recipe, stage) for stage in STAGES}
    report = data_report(recipe, manifests) | {"tags": tag_account(Work(recipe, run_dir, run_dir))}
    artifacts.write_json(recipe.run_dir / REPORT_FILE, report)
    return report


def check(recipe: DataRecipe) -> None:
    """Refuse, before anything is written, folders and files that do not exist."""
    for stage in STAGES:
        stage.keys(recipe)


def _corrupt_input(stage: Stage, recipe: DataRecipe) -> str | None:
    """Name the first input of a stage whose files are not those it was left with, and say which file it is."""
    for name in stage.inputs:
        try:
            artifacts.verify_manifest(recipe.run_dir / name)
        except artifacts.CorruptArtifact as error:
            logger.info("%s: %s; making it again", name, error)
            return name
    return None


def _manifest(recipe: DataRecipe, stage: Stage) -> dict[str, Any]:
    manifest = artifacts.read_manifest(recipe.run_dir / stage.name)
    assert manifest is not None, stage.name
    return manifest
