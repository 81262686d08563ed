"""A stage of data preparation: what it reads, what makes it up to date, and the folder it leaves behind."""

from __future__ import annotations

import ast
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from codellama_train import artifacts
from codellama_train.recipe.data import DataRecipe
from data_prep.work import Work, finished_files, unfinished_folder
from data_prep.workers import end_idle_processes

logger = logging.getLogger(__name__)
FINGERPRINTED_PACKAGES = ("data_prep.", "codellama_train.tokens.")
# How the work is spread decides nothing about a result.
NOT_FINGERPRINTED = {"data_prep.ray_pool", "data_prep.workers"}


@dataclass(frozen=True)
class Stage:
    """One stage: `keys` gives what it reads of the recipe, `run` fills a folder and gives the manifest's facts."""

    name: str
    module: str
    run: Callable[[Work], dict[str, Any]]
    keys: Callable[[DataRecipe], Any]
    inputs: tuple[str, ...]


def fingerprint_of(stage: Stage, recipe: DataRecipe, run_dir: Path) -> str | None:
    """Hash all that decides a stage's output; None while an input is missing."""
    inputs = {}
    for name in stage.inputs:
        manifest = artifacts.read_manifest(run_dir / name)
        if manifest is None:
            return None
        inputs[name] = manifest["files"]
    code = {name: artifacts.sha256_of(path) for name, path in sorted(modules_behind(stage.module).items())}
    return artifacts.fingerprint({"keys": stage.keys(recipe), "inputs": inputs, "code": code})


def modules_behind(module: str) -> Mapping[str, Path]:
    """Give a module's source file and, by name, those of all our modules it imports, directly or not."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        spec = find_spec(name) if name not in found and name not in NOT_FINGERPRINTED else None
        if spec is not None and spec.origin is not None:
            found[name] = Path(spec.origin)
            waiting += [imported for imported in _imports(found[name]) if imported.startswith(FINGERPRINTED_PACKAGES)]
    return found


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            if _is_our_package(node.module):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_our_package(name: str) -> bool:
    spec = find_spec(name) if f"{name}.".startswith(FINGERPRINTED_PACKAGES) else None
    return spec is not None and spec.submodule_search_locations is not None


def is_up_to_date(stage: Stage, recipe: DataRecipe, run_dir: Path) -> bool:
    """Tell whether the stage's folder is complete and was made from exactly this recipe, input and code."""
    manifest = artifacts.read_manifest(run_dir / stage.name)
    if manifest is None or manifest["fingerprint"] != fingerprint_of(stage, recipe, run_dir):
        return False
    return all(_has_size(run_dir / stage.name / name, facts["bytes"]) for name, facts in manifest["files"].items())


def _has_size(path: Path, num_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == num_bytes


def do(stage: Stage, recipe: DataRecipe, run_dir: Path) -> dict[str, Any]:
    """Run a stage, going on where a killed one stopped; its folder replaces the old one only when it is complete."""
    fingerprint = fingerprint_of(stage, recipe, run_dir)
    assert fingerprint is not None, f"{stage.name} needs finished {stage.inputs}"
    started = time.monotonic()
    folder = unfinished_folder(run_dir / stage.name, fingerprint)
    try:
        facts = stage.run(Work(recipe, folder, run_dir))
    finally:
        end_idle_processes()
    seconds = round(time.monotonic() - started, 2)
    contents = {"stage": stage.name, "fingerprint": fingerprint, **facts, "seconds": seconds}
    manifest = artifacts.write_manifest(folder, contents, files=finished_files(folder))
    artifacts.publish(folder, run_dir / stage.name)
    logger.info("%s: done in %.1f s", stage.name, seconds)
    return manifest
