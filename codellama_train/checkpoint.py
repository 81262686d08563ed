"""Checkpoints that are either whole or absent: weights, optimizer, data position and counters.

The loop draws no random numbers (the data's are keyed by document, and there is no dropout), so there is no random
state to keep.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.disk_space import checkpoint_bytes, failure_on_first, free_bytes, watched_writes
from codellama_train.distributed import Processes, from_first, gathered
from codellama_train.engine import micro_steps
from codellama_train.nvme import is_on_drive, load_same_layout, mapped_state
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.relayout import load_from_other_layout
from codellama_train.run_folder import CHECKPOINTS, METRICS_FILE, saved
from codellama_train.shared_checksums import damage_together, vouch_together
from codellama_train.tokens.lane_state import LaneState

ENGINE, POSITION = "engine", "position.json"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Position:
    """Where a run stands: updates done, the lanes' states after them, and the loss sums not yet in the metrics."""

    step: int
    lanes: Sequence[LaneState]
    unlogged_sums: list[list[float]]


def save(recipe: TrainingRecipe, engine: Any, *, position: Position, processes: Processes) -> dict[str, float]:
    """Write a checkpoint from all processes; the position's lanes are this process's own. Gives the seconds by part.

    A save that fails, on a full disk say, is removed; the checkpoints before it stay. So do they until the new one
    would survive a power loss.
    """
    path = recipe.run_dir / CHECKPOINTS / f"step-{position.step:06d}"
    partial = path.with_name(f".{path.name}.partial")
    needed, seconds = checkpoint_bytes(engine), dict[str, float]()
    failure = failure_on_first(processes, lambda: _start(partial, needed=needed.least))
    failure = failure or _write(partial, recipe, engine, position=position, processes=processes, seconds=seconds)
    with timed("publishing", seconds):
        failure = failure or failure_on_first(processes, lambda: publish(partial, path, recipe))
    if failure is None:
        parts = ", ".join(f"{name} {part:.1f} s" for name, part in seconds.items())
        logger.info("saved step %s in %.1f s: %s", f"{position.step:,}", sum(seconds.values()), parts)
        return seconds
    if processes.is_first:
        shutil.rmtree(partial, ignore_errors=True)
    newest, free = from_first(([path.name for path in saved(recipe.run_dir)[:1]], free_bytes(partial)))
    raise UserError(
        f"step {position.step:,} could not be saved: {failure}; a checkpoint needs about {needed.about:,} bytes, and "
        f"{free:,} are free at {recipe.run_dir}. The newest one there is {newest[0] if newest else 'none'}; make "
        "room, and the same command continues from it"
    )


def _start(partial: Path, *, needed: int) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    if free_bytes(partial) < needed:
        raise OSError("the disk is too full")
    partial.mkdir(parents=True)


def _write(
    partial: Path,
    recipe: TrainingRecipe,
    engine: Any,
    *,
    position: Position,
    processes: Processes,
    seconds: dict[str, float],
) -> str | None:
    """Fill the folder of a checkpoint; where that fails in any process, tell all of them why."""
    with timed("writing", seconds), watched_writes(engine) as writes, mapped_state(engine):
        # What is frozen is the base's, which a run starts from anyway.
        engine.save_checkpoint(str(partial), tag=ENGINE, save_latest=False, exclude_frozen_parameters=True)
    everywhere = gathered((writes.failures, list(position.lanes)))
    failures = [f"rank {rank}: {text}" for rank, (texts, _) in enumerate(everywhere) for text in texts]
    stored = {
        "lanes": [state.as_json() for _, lanes in everywhere for state in lanes],
        "unlogged_sums": position.unlogged_sums,
    }
    if failures:
        return failures[0]
    failure = failure_on_first(processes, lambda: artifacts.write_json(partial / POSITION, stored))
    if failure is not None:
        return failure
    with timed("checksums", seconds):
        files, failure = vouch_together(partial, writes.paths, processes)
    contents = {"step": position.step, "layout": layout(recipe, processes)}
    return failure or failure_on_first(processes, lambda: artifacts.write_manifest(partial, contents, files=files))


@contextmanager
def timed(name: str, seconds: dict[str, float]) -> Iterator[None]:
    """Add how long a block takes to `seconds`."""
    started = time.monotonic()
    yield
    seconds[name] = time.monotonic() - started


def publish(partial: Path, path: Path, recipe: TrainingRecipe) -> None:
    """Let a checkpoint take its place, and remove the oldest; newer ones, passed over as damaged, do not count."""
    metrics = recipe.run_dir / METRICS_FILE
    if metrics.is_file():  # a resumed run writes again only what comes after this checkpoint
        artifacts.flush(metrics)
    artifacts.publish(partial, path)
    paths = saved(recipe.run_dir)
    for old in paths[paths.index(path) + recipe.machine.keep_checkpoints :]:
        outgoing = old.with_name(f".{old.name}.outgoing")  # a half-removed one must not be taken for a damaged one
        old.rename(outgoing)
        shutil.rmtree(outgoing)


def load_newest(recipe: TrainingRecipe, engine: Any, processes: Processes) -> Position | None:
    """Restore the newest whole checkpoint into the engine and give its position, with the lanes of all processes."""
    if processes.is_first:
        for leftover in recipe.run_dir.glob(f"{CHECKPOINTS}/.step-*"):
            shutil.rmtree(leftover)
    paths = from_first(saved(recipe.run_dir))
    path = newest_whole(paths, lambda path: damage_together(path, processes))
    if path is None:
        return None
    manifest = artifacts.finished_manifest(path)
    saved_layout, asked = manifest["layout"], layout(recipe, processes)
    if saved_layout == asked and is_on_drive(engine):
        load_same_layout(path / ENGINE, engine, step=manifest["step"])
    elif saved_layout == asked:
        loaded, _ = engine.load_checkpoint(
            str(path), tag=ENGINE, load_module_strict=recipe.lora is None, load_lr_scheduler_states=False
        )
        assert loaded, f"DeepSpeed did not load {path}"
    else:
        logger.info("%s was saved with %s; bringing it to %s", path, _describe(saved_layout), _describe(asked))
        scratch = path.with_name(f".{path.name}.converted")
        load_from_other_layout(path / ENGINE, engine, step=manifest["step"], scratch=scratch, processes=processes)
    logger.info("continuing after step %s", f"{manifest['step']:,}")
    stored = artifacts.read_json(path / POSITION)
    lanes = [LaneState.from_json(state) for state in stored["lanes"]]
    return Position(step=manifest["step"], lanes=lanes, unlogged_sums=stored["unlogged_sums"])


def layout(recipe: TrainingRecipe, processes: Processes) -> dict[str, Any]:
    """Say how the optimizer's state is cut up on disk; at stage 1, DeepSpeed has another optimizer for accumulation.

    It has none for accumulation with offload, and where state lies while training is not to be seen in files.
    """
    offload = recipe.machine.offload
    accumulates = micro_steps(recipe, processes.num_ranks) > 1 and (offload is None or offload.optimizer is None)
    return {
        "processes": processes.num_ranks,
        "machine.zero_stage": recipe.machine.zero_stage,
        "accumulation": accumulates and recipe.machine.zero_stage == 1,
    }


def _describe(parts: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parts.items())


def newest_whole(paths: Sequence[Path], damage_in: Callable[[Path], list[str]]) -> Path | None:
    """Find the first checkpoint that nothing is wrong with; damaged ones are passed over aloud. None of none.

    Where all are damaged the run stops: to start anew, unasked, would throw away what a person may still want to save.
    """
    all_damage = []
    for path in paths:
        damage = damage_in(path)
        if not damage:
            return path
        logger.warning("passing over a damaged checkpoint: %s", "; ".join(damage))
        all_damage += damage
    if all_damage:
        raise UserError(
            f"every checkpoint of {paths[0].parent.parent} is damaged: {'; '.join(all_damage)}. Put whole files back "
            f"there, or remove {paths[0].parent} to start anew"
        )
    return None
