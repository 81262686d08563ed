"""How far a stage's run is, seen from outside without touching it. Imports no torch."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codellama_train import artifacts
from codellama_train.artifacts import CorruptArtifact
from codellama_train.console import UserError
from codellama_train.recipe.lineage import Stage, with_ancestors
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import (
    FINAL,
    LOCK_FILE,
    METRICS_FILE,
    RECIPE_FILE,
    changed_key,
    is_whole,
    origin_folders,
    saved,
    stored_origins,
)
from codellama_train.run_records import read_metrics, training_seconds

Kind = Literal["absent", "waiting", "running", "stopped", "complete", "stale", "damaged"]
LOCKS = Path("/proc/locks")
# A run on another machine is taken to go on for so long after its last sign of life, and for so many of its usual gaps.
QUIET_SECONDS, QUIET_GAPS = 600.0, 5


@dataclass(frozen=True)
class RunState:
    """Where a run stands; `reason` says what a person may want to know or do about it."""

    kind: Kind
    reason: str = ""
    step: int = 0
    seconds: float | None = None  # of training, so far; None where nothing is recorded
    seconds_left: float | None = None  # of one that is running or stopped, at its last speed
    tokens_per_second: float | None = None


def states_of(stages: Iterable[Stage]) -> dict[Stage, RunState]:
    """Say where stages and all they descend from stand, parents first."""
    states: dict[Stage, RunState] = {}
    for stage in with_ancestors(stages):
        try:
            states[stage] = _state_of(stage, states)
        except (CorruptArtifact, UserError) as error:
            states[stage] = RunState("damaged", str(error))
    return states


def _state_of(stage: Stage, states: dict[Stage, RunState]) -> RunState:
    recipe, run_dir = stage.recipe, stage.recipe.run_dir
    holder = running_in(run_dir)
    has_begun = (run_dir / RECIPE_FILE).is_file()
    change = what_changed(stage, states) if has_begun else None
    if holder is not None:
        return _progress(recipe, "running", reason=f"by {holder}" + (f", although {change}" if change else ""))
    if not has_begun and stage.parent is not None and states[stage.parent].kind != "complete":
        return RunState("waiting")
    if not has_begun:
        obstacle = what_is_missing(stage)
        return RunState("waiting", obstacle) if obstacle else RunState("absent")
    if change:
        return _progress(recipe, "stale", reason=change)
    if is_whole(run_dir / FINAL):
        return _progress(recipe, "complete", step=recipe.steps)
    return _stopped(recipe)


def running_in(run_dir: Path) -> str | None:
    """Name the process that trains in a run folder, if one does.

    The lock's holder says who it is, and the kernel whether it holds it still: to try the lock would keep out a launch
    that starts just then. Of another machine's process the run's files tell, by their age.
    """
    try:
        holder = json.loads((run_dir / LOCK_FILE).read_text(encoding="utf-8"))
        host, process = str(holder["host"]), int(holder["process"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host == socket.gethostname() and LOCKS.is_file():
        return f"process {process}" if process in _lock_holders() else None
    age = _seconds_since_sign_of_life(run_dir)
    return f"process {process} on {host}" if age < _usual_quiet_seconds(run_dir) else None


def _lock_holders() -> set[int]:
    """List the processes of this machine that hold a file's lock: `1: FLOCK ADVISORY WRITE 8599 fe:00:23 0 EOF`."""
    lines = (line.split() for line in LOCKS.read_text(encoding="ascii").splitlines())
    return {int(words[4]) for words in lines if words[1] == "FLOCK" and words[3] == "WRITE"}


def _seconds_since_sign_of_life(run_dir: Path) -> float:
    paths = [path for path in (run_dir / LOCK_FILE, run_dir / METRICS_FILE) if path.exists()]
    return time.time() - max(path.stat().st_mtime for path in paths)


def _usual_quiet_seconds(run_dir: Path) -> float:
    last_two = read_metrics(run_dir / METRICS_FILE)[-2:]
    if len(last_two) < 2:
        return QUIET_SECONDS
    before, last = last_two
    gap: float = (last["seconds_per_step"] or 0.0) * (last["step"] - before["step"])
    return max(QUIET_SECONDS, QUIET_GAPS * gap)


def what_changed(stage: Stage, states: dict[Stage, RunState]) -> str | None:
    """Say what of a run's recipe, base, shards or ancestors is no longer what it was made from; None if nothing is."""
    recipe = stage.recipe
    key = changed_key(recipe)
    if key is not None:
        return f"its recipe has changed: {key}"
    stored = stored_origins(recipe.run_dir)
    for name, folder in origin_folders(recipe).items():
        is_there = name in stored and artifacts.read_manifest(folder) is not None
        if is_there and artifacts.manifest_fingerprint(folder) != stored[name]:
            return f"{name}={str(folder)!r} has changed since"
    if stage.parent is not None and states[stage.parent].kind == "stale":
        return f"{stage.parent.recipe.name} is stale, from which it was trained"
    return None


def what_is_missing(stage: Stage) -> str | None:
    """Say what a stage needs that is not there and that no stage before it makes; None if it needs nothing."""
    recipe = stage.recipe
    origin = Path(recipe.model.init_from or "")
    if stage.parent is None and origin.is_relative_to(recipe.runs) and artifacts.read_manifest(origin) is None:
        return f"for {origin}, which no recipe found here makes"
    if not stage.has_recipe:
        return f"for a recipe: {stage.path} is all that is left of it"
    for name, source in recipe.data.sources.items():
        if artifacts.read_manifest(source.shards) is None:
            return f"for data.sources.{name}.shards={str(source.shards)!r}, which scripts/prepare_data.py writes"
    return None


def _stopped(recipe: TrainingRecipe) -> RunState:
    """Say from where a run would go on: the newest checkpoint whose files have their sizes."""
    paths = saved(recipe.run_dir)
    for path in paths:
        step = _step_of_whole(path)
        if step is not None:
            return _progress(recipe, "stopped", step=step, reason=f"resumes from {path.name}")
    if paths:
        return RunState("damaged", f"no checkpoint of {recipe.run_dir} is whole; the newest is {paths[0].name}")
    return _progress(recipe, "stopped", step=0, reason="before its first save")


def _step_of_whole(checkpoint: Path) -> int | None:
    try:
        manifest = artifacts.finished_manifest(checkpoint)
    except CorruptArtifact:
        return None
    is_whole = not any(artifacts.damaged_size(checkpoint / name, facts) for name, facts in manifest["files"].items())
    return int(manifest["step"]) if is_whole else None


def _progress(recipe: TrainingRecipe, kind: Kind, *, step: int | None = None, reason: str = "") -> RunState:
    """Add what the run's record says of its speed."""
    metrics = read_metrics(recipe.run_dir / METRICS_FILE)
    if not metrics:
        return RunState(kind, reason, step or 0)
    last = metrics[-1]
    step = last["step"] if step is None else step
    seconds_per_step: float | None = last.get("seconds_per_step") if kind in ("running", "stopped") else None
    return RunState(
        kind,
        reason,
        step,
        seconds=training_seconds(metrics),
        seconds_left=None if seconds_per_step is None else (recipe.steps - step) * seconds_per_step,
        tokens_per_second=last["tokens_per_second"],
    )
