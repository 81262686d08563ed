"""Checkpoints that are either whole or absent: weights, optimizer, data position and counters.

The loop draws no random numbers (the data's are keyed by document, and there is no dropout), so there is no random
state to keep.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.distributed import Processes, barrier, from_first, gathered
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import CHECKPOINTS
from codellama_train.tokens.lane_state import LaneState

ENGINE, POSITION = "engine", "position.json"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Position:
    """Where a run stands: updates done, the lanes' states after them, and the loss sums not yet in the metrics."""

    step: int
    lanes: Sequence[LaneState]
    unlogged_sums: list[list[float]]


def save(recipe: TrainingRecipe, engine: Any, *, position: Position, processes: Processes) -> None:
    """Write a checkpoint from all processes; the position's lanes are this process's own."""
    path = recipe.run_dir / CHECKPOINTS / f"step-{position.step:06d}"
    partial = path.with_name(f".{path.name}.partial")
    if processes.is_first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    barrier()
    engine.save_checkpoint(str(partial), tag=ENGINE, save_latest=False)
    states = [state for part in gathered(list(position.lanes)) for state in part]
    if processes.is_first:
        stored = {"lanes": [state.as_json() for state in states], "unlogged_sums": position.unlogged_sums}
        artifacts.write_json(partial / POSITION, stored)
        artifacts.write_manifest(partial, {"step": position.step, "layout": layout(recipe, processes)})
        artifacts.publish(partial, path)
        for old in sorted(recipe.run_dir.glob(f"{CHECKPOINTS}/step-*"))[: -recipe.machine.keep_checkpoints]:
            shutil.rmtree(old)
    barrier()


def load_newest(recipe: TrainingRecipe, engine: Any, processes: Processes) -> Position | None:
    """Restore the newest whole checkpoint into the engine and give its position, with the lanes of all processes."""
    path = from_first(newest_whole(recipe.run_dir) if processes.is_first else None)
    if path is None:
        return None
    manifest = artifacts.read_json(path / artifacts.MANIFEST)
    saved, asked = manifest["layout"], layout(recipe, processes)
    if saved != asked:
        raise UserError(
            f"{path} was saved with {_describe(saved)}, this launch has {_describe(asked)}; a run continues only "
            "in the layout that it was saved in"
        )
    loaded, _ = engine.load_checkpoint(str(path), tag=ENGINE, load_lr_scheduler_states=False)
    assert loaded, f"DeepSpeed did not load {path}"
    logger.info("continuing after step %s", f"{manifest['step']:,}")
    stored = artifacts.read_json(path / POSITION)
    lanes = [LaneState.from_json(state) for state in stored["lanes"]]
    return Position(step=manifest["step"], lanes=lanes, unlogged_sums=stored["unlogged_sums"])


def layout(recipe: TrainingRecipe, processes: Processes) -> dict[str, int]:
    """Say how the optimizer's state is cut up on disk."""
    return {"processes": processes.num_ranks, "machine.zero_stage": recipe.machine.zero_stage}


def _describe(parts: dict[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parts.items())


def newest_whole(run_dir: Path) -> Path | None:
    """Find the newest checkpoint whose every file is what its manifest says; damaged ones are passed over aloud."""
    for path in sorted(run_dir.glob(f"{CHECKPOINTS}/step-*"), reverse=True):
        try:
            artifacts.verify_manifest(path)
        except artifacts.CorruptArtifact as error:
            logger.warning("passing over a damaged checkpoint: %s", error)
        else:
            return path
    return None
