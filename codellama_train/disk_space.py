"""Room for checkpoints: how much they need, and what failed writes become when a disk fills up meanwhile."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.serialization import get_crc32_options, set_crc32_options

from codellama_train.console import UserError
from codellama_train.distributed import Processes, from_first
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import CHECKPOINTS

OPTIMIZER_BYTES = 12  # per trained parameter: float32 weight and two moments
WRITE_ERRORS = (OSError, RuntimeError)  # torch's file writers raise the latter when a disk is full

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointBytes:
    """What a checkpoint takes on the disk: certainly so much, and about so much."""

    least: int
    about: int


def checkpoint_bytes(engine: Any) -> CheckpointBytes:
    """Derive a checkpoint's size from what is trained: optimizer state, and below ZeRO 3 the weights once more."""
    trained = [parameter for parameter in engine.module.parameters() if parameter.requires_grad]
    # ZeRO 3 keeps the number of what it has cut up in `ds_numel`.
    num_trained = sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in trained)
    copies = sum(0 if hasattr(each, "ds_numel") else each.numel() * each.element_size() for each in trained)
    least = num_trained * OPTIMIZER_BYTES
    return CheckpointBytes(least=least, about=least + copies)


def require_room(recipe: TrainingRecipe, engine: Any, *, step: int, processes: Processes) -> None:
    """Refuse to go on after `step` where not even the next save can fit on the disk; warn where a later one may not.

    While a checkpoint is saved, as many older ones lie beside it as the recipe keeps.
    """
    every, keep = recipe.machine.save_every_steps, recipe.machine.keep_checkpoints
    saves_to_come = (recipe.steps - 1) // every - step // every
    if not saves_to_come:
        return
    needed = checkpoint_bytes(engine)
    present, free = from_first((len(list(recipe.run_dir.glob(f"{CHECKPOINTS}/step-*"))), free_bytes(recipe.run_dir)))
    if free < needed.least:
        raise UserError(
            f"the checkpoint due after step {(step // every + 1) * every:,} cannot fit: it needs more than "
            f"{needed.least:,} bytes, and {free:,} are free at {recipe.run_dir}; make room, or set runs to a folder on "
            "a larger disk"
        )
    num_new = max(min(saves_to_come, keep + 1 - present), 1)
    if free < num_new * needed.about and processes.is_first:
        logger.warning(
            "the disk will become full: %s more checkpoints of about %s bytes are to lie at %s, where %s bytes are "
            "free; make room or lower machine.keep_checkpoints",
            *(f"{num_new:,}", f"{needed.about:,}", recipe.run_dir, f"{free:,}"),
        )


def free_bytes(folder: Path) -> int:
    """Say how much fits beside a folder that may not exist yet."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def failure_on_first(processes: Processes, action: Callable[[], object]) -> str | None:
    """Run an action in the first process alone and tell every process why it failed; None if it did not."""
    failure = None
    if processes.is_first:
        try:
            action()
        except OSError as error:
            failure = str(error)
    reported: str | None = from_first(failure)
    return reported


@dataclass
class Writes:
    """The files that this process has written, and what went wrong with others."""

    paths: list[Path] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@contextmanager
def watched_writes(engine: Any) -> Iterator[Writes]:
    """Let DeepSpeed's saving go on past a failed write, and collect what was written and why writes failed.

    Otherwise the process whose write fails leaves the others waiting at the end of the save, with no way to agree.
    """
    writes = Writes()

    def attempt(write: Callable[..., Any], *arguments: Any) -> None:
        try:
            write(*arguments)
        except WRITE_ERRORS as error:
            writes.failures.append(f"a file could not be written ({str(error).splitlines()[0]})")

    files, copy_script = engine.checkpoint_engine, engine._copy_recovery_script
    save = files.save

    def attempt_to_save(state_dict: Any, path: str) -> None:
        writes.paths.append(Path(path))
        attempt(save, state_dict, path)

    files.save, engine._copy_recovery_script = attempt_to_save, lambda folder: attempt(copy_script, folder)
    # CRC-32 in every file costs as much as writing it to memory does, and the manifest has their SHA-256.
    with_crc32 = get_crc32_options()
    set_crc32_options(False)
    try:
        yield writes
    finally:
        set_crc32_options(with_crc32)
        del files.save, engine._copy_recovery_script  # the class's own show again
