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
from codellama_train.disk_space import collected_failures, failure_on_first, free_bytes, needed_bytes, stored_bytes
from codellama_train.distributed import Processes, from_first, gathered
from codellama_train.engine import micro_steps
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.relayout import load_from_other_layout
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
    """Write a checkpoint from all processes; the position's lanes are this process's own.

    A save that fails, on a full disk say, is removed; the checkpoints before it stay.
    """
    path = recipe.run_dir / CHECKPOINTS / f"step-{position.step:06d}"
    partial = path.with_name(f".{path.name}.partial")
    older = sorted(recipe.run_dir.glob(f"{CHECKPOINTS}/step-*"))
    needed = needed_bytes(older[-1] if older else None, engine)
    failure = failure_on_first(processes, lambda: _start(partial, needed=needed))
    failure = failure or _write(partial, recipe, engine, position=position, processes=processes)

    def publish() -> None:
        artifacts.publish(partial, path)
        for old in sorted(recipe.run_dir.glob(f"{CHECKPOINTS}/step-*"))[: -recipe.machine.keep_checkpoints]:
            shutil.rmtree(old)

    failure = failure or failure_on_first(processes, publish)
    if failure is None:
        return
    if processes.is_first:
        needed = max(needed, stored_bytes(partial))
        shutil.rmtree(partial, ignore_errors=True)
    needed, free = from_first((needed, free_bytes(partial)))
    raise UserError(
        f"step {position.step:,} could not be saved: {failure}; a checkpoint needs at least {needed:,} bytes, and "
        f"{free:,} are free at {recipe.run_dir}. The newest one there is {older[-1].name if older else 'none'}; make "
        "room, and the same command continues from it"
    )


def _start(partial: Path, *, needed: int) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    if free_bytes(partial) < needed:
        raise OSError("the disk is too full")
    partial.mkdir(parents=True)


def _write(
    partial: Path, recipe: TrainingRecipe, engine: Any, *, position: Position, processes: Processes
) -> str | None:
    """Fill the folder of a checkpoint; where that fails in any process, tell all of them why."""
    with collected_failures(engine) as own_failures:
        # What is frozen is the base's, which a run starts from anyway.
        engine.save_checkpoint(str(partial), tag=ENGINE, save_latest=False, exclude_frozen_parameters=True)
    everywhere = gathered((own_failures, list(position.lanes)))
    failures = [f"rank {rank}: {text}" for rank, (texts, _) in enumerate(everywhere) for text in texts]
    states = [state for _, lanes in everywhere for state in lanes]

    def finish() -> None:
        stored = {"lanes": [state.as_json() for state in states], "unlogged_sums": position.unlogged_sums}
        artifacts.write_json(partial / POSITION, stored)
        artifacts.write_manifest(partial, {"step": position.step, "layout": layout(recipe, processes)})

    return failures[0] if failures else failure_on_first(processes, finish)


def load_newest(recipe: TrainingRecipe, engine: Any, processes: Processes) -> Position | None:
    """Restore the newest whole checkpoint into the engine and give its position, with the lanes of all processes."""
    path = from_first(newest_whole(recipe.run_dir) if processes.is_first else None)
    if path is None:
        return None
    manifest = artifacts.read_json(path / artifacts.MANIFEST)
    saved, asked = manifest["layout"], layout(recipe, processes)
    if saved == asked:
        loaded, _ = engine.load_checkpoint(
            str(path), tag=ENGINE, load_module_strict=recipe.lora is None, load_lr_scheduler_states=False
        )
        assert loaded, f"DeepSpeed did not load {path}"
    else:
        logger.info("%s was saved with %s; bringing it to %s", path, _describe(saved), _describe(asked))
        scratch = path.with_name(f".{path.name}.converted")
        load_from_other_layout(path / ENGINE, engine, step=manifest["step"], scratch=scratch, processes=processes)
    logger.info("continuing after step %s", f"{manifest['step']:,}")
    stored = artifacts.read_json(path / POSITION)
    lanes = [LaneState.from_json(state) for state in stored["lanes"]]
    return Position(step=manifest["step"], lanes=lanes, unlogged_sums=stored["unlogged_sums"])


def layout(recipe: TrainingRecipe, processes: Processes) -> dict[str, Any]:
    """Say how the optimizer's state is cut up on disk; at stage 1, DeepSpeed has another optimizer for accumulation."""
    accumulates = micro_steps(recipe, processes.num_ranks) > 1
    return {
        "processes": processes.num_ranks,
        "machine.zero_stage": recipe.machine.zero_stage,
        "accumulation": accumulates and recipe.machine.zero_stage == 1,
    }


def _describe(parts: dict[str, Any]) -> str:
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
