"""The run folder: what it was made from, and whether a recipe may continue in it. Imports no torch."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import socket
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Literal

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.loading import as_toml, put_placeholder, read_table
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.shards import ShardSet

RECIPE_FILE, SOURCE_FILE, METRICS_FILE = "recipe.toml", "source.json", "metrics.jsonl"
LOCK_FILE = ".lock"
INIT_FROM = "model.init_from"
CHECKPOINTS, FINAL = "checkpoints", "final"
CHANGEABLE = ("machine", "validation")  # tables that decide nothing about the weights
PACKAGES = ("torch", "transformers", "deepspeed", "peft", "sentencepiece", "numpy")

State = Literal["new", "started", "complete"]
logger = logging.getLogger(__name__)


def saved(run_dir: Path) -> list[Path]:
    """List a run's checkpoints, the newest first, damaged ones among them."""
    steps = {path: path.name.removeprefix("step-") for path in run_dir.glob(f"{CHECKPOINTS}/step-*")}
    own = [path for path, step in steps.items() if step.isdigit()]  # a person may keep copies under other names
    return sorted(own, key=lambda path: int(steps[path]), reverse=True)


def origins(recipe: TrainingRecipe) -> dict[str, Any]:
    """Fingerprint what the recipe starts from: its base model (if that is a folder of ours) and its shards."""
    found: dict[str, Any] = {}
    for key, folder in origin_folders(recipe).items():
        if key != INIT_FROM:
            found[key] = artifacts.manifest_fingerprint(ShardSet(folder).folder)
        elif artifacts.read_manifest(folder) is not None:
            found[key] = artifacts.manifest_fingerprint(folder)
        elif folder.is_relative_to(recipe.runs):
            raise UserError(
                f"model.init_from={recipe.model.init_from!r} does not exist yet: train "
                f"{folder.parent.relative_to(recipe.runs)} first, or set model.init_from to another model folder"
            )
    return found


def origin_folders(recipe: TrainingRecipe) -> dict[str, Path]:
    """Name the folders that a recipe starts from, by key; that of the base may be a name on the hub instead."""
    base = {INIT_FROM: Path(recipe.model.init_from)} if recipe.model.init_from else {}
    return base | {f"data.sources.{name}.shards": source.shards for name, source in recipe.data.sources.items()}


def stored_origins(run_dir: Path) -> dict[str, Any]:
    """Read what a run was begun from."""
    path = run_dir / SOURCE_FILE
    try:
        stored: dict[str, Any] = artifacts.read_json(path)["origins"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise artifacts.CorruptArtifact(f"{path} is damaged: {error!r}") from error
    return stored


def examine(recipe: TrainingRecipe) -> State:
    """Say how far the recipe's run folder is; refuse one that another recipe, base or data set made."""
    run_dir, asked_origins = recipe.run_dir, origins(recipe)
    if not (run_dir / RECIPE_FILE).is_file():
        return "new"
    key = changed_key(recipe)
    if key is not None:
        raise UserError(
            f"{run_dir} holds a run of another recipe: {key}; give this one another name or another runs folder, "
            "or remove that folder"
        )
    key = first_difference(stored_origins(run_dir), asked_origins)
    if key is not None:
        raise UserError(
            f"{run_dir} was trained from something that has changed since: {key}; to train it anew remove that folder"
        )
    return "complete" if is_whole(run_dir / FINAL) else "started"


def changed_key(recipe: TrainingRecipe) -> str | None:
    """Name the first key in which a run folder's recipe is another one, with both values; None if it is this one."""
    stored = read_table(recipe.run_dir / RECIPE_FILE)
    return first_difference(_learned(stored), _learned(tomllib.loads(as_toml(recipe))))


def is_whole(final: Path) -> bool:
    """Tell whether a run has its finished model, by its files' sizes; one with others is refused, naming them."""
    manifest = artifacts.read_manifest(final)
    if manifest is None:
        return False
    sizes = (artifacts.damaged_size(final / name, facts) for name, facts in manifest["files"].items())
    damage = [text for text in sizes if text is not None]
    if damage:
        raise UserError(f"{'; '.join(damage)}. Remove {final}, and the same command writes it again")
    return True


def _learned(table: dict[str, Any]) -> dict[str, Any]:
    """Give what decides the weights, with paths told from the runs folder, which may be moved as a whole."""
    placed = put_placeholder(table, table["runs"])
    return {key: value for key, value in placed.items() if key not in (*CHANGEABLE, "runs")}


def first_difference(
    stored: Any, asked: Any, path: str = "", *, stored_is: str = "there", asked_is: str = "here"
) -> str | None:
    """Name the first key that two nested tables do not agree on, with both values; None if they agree."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        for key in [*stored, *(key for key in asked if key not in stored)]:
            name = f"{path}.{key}" if path else key
            difference = first_difference(stored.get(key), asked.get(key), name, stored_is=stored_is, asked_is=asked_is)
            if difference is not None:
                return difference
        return None
    return None if stored == asked else f"{path} is {_shorten(stored)} {stored_is} and {_shorten(asked)} {asked_is}"


def _shorten(value: Any) -> str:
    text = "absent" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"


def lock(run_dir: Path) -> IO[str]:
    """Keep other launches out of a run folder for as long as the file given back is open, a kill included."""
    run_dir.mkdir(parents=True, exist_ok=True)
    file = (run_dir / LOCK_FILE).open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"another launch is training in {run_dir} right now; wait for it or stop it") from error
    file.truncate(0)
    file.write(json.dumps({"host": socket.gethostname(), "process": os.getpid()}))
    file.flush()
    return file


def claim(recipe: TrainingRecipe, *, launch: dict[str, Any]) -> None:
    """Write the resolved recipe and its origins into the run folder; what may change and has is logged and recorded."""
    run_dir = recipe.run_dir
    recipe_path, source_path = run_dir / RECIPE_FILE, run_dir / SOURCE_FILE
    text = as_toml(recipe)
    if recipe_path.is_file():
        stored = tomllib.loads(recipe_path.read_text(encoding="utf-8"))
        asked = tomllib.loads(text)
        for table in CHANGEABLE:
            key = first_difference(stored.get(table, {}), asked.get(table, {}), table)
            if key is not None:
                logger.info("resuming with another %s setting: %s", table, key)
    source: dict[str, Any] = {"origins": origins(recipe), "launches": []}
    if source_path.is_file():
        source = artifacts.read_json(source_path)
    source["launches"].append(launch)
    artifacts.write_json(source_path, source)
    artifacts.write_text(recipe_path, text)


def describe_software() -> dict[str, Any]:
    """Record what code runs: the project's commit where there is one, Python, and the libraries' versions."""
    where = Path(__file__).resolve().parent
    git = subprocess.run(
        ["git", "-C", str(where), "describe", "--always", "--dirty", "--abbrev=40"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": git.stdout.strip() or None,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
