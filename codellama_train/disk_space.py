"""Room for a checkpoint: how much it needs, and what failed writes become when a disk fills up meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codellama_train import artifacts
from codellama_train.distributed import Processes, from_first

OPTIMIZER_BYTES = 12  # per trained parameter: float32 weight and two moments
WRITE_ERRORS = (OSError, RuntimeError)  # torch's file writers raise the latter when a disk is full


def needed_bytes(newest: Path | None, engine: Any) -> int:
    """Say how large a checkpoint is at least: as the newest, or else what trained weights and optimizer come to."""
    manifest = artifacts.read_manifest(newest) if newest is not None else None
    if manifest is not None:
        return sum(file["bytes"] for file in manifest["files"].values())
    trained = [parameter for parameter in engine.module.parameters() if parameter.requires_grad]
    # ZeRO 3 saves no second copy of what is trained, and keeps the count of what it has cut up elsewhere.
    return sum(
        parameter.ds_numel * OPTIMIZER_BYTES
        if hasattr(parameter, "ds_numel")
        else parameter.numel() * (OPTIMIZER_BYTES + parameter.element_size())
        for parameter in trained
    )


def stored_bytes(folder: Path) -> int:
    """Add up a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def free_bytes(folder: Path) -> int:
    """Say how much fits beside a folder that may not exist yet."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def failure_on_first(processes: Processes, action: Callable[[], None]) -> str | None:
    """Run an action in the first process alone and tell every process why it failed; None if it did not."""
    failure = None
    if processes.is_first:
        try:
            action()
        except OSError as error:
            failure = str(error)
    reported: str | None = from_first(failure)
    return reported


@contextmanager
def collected_failures(engine: Any) -> Iterator[list[str]]:
    """Let DeepSpeed's saving go on past a failed write, and collect why writes failed.

    Otherwise the process whose write fails leaves the others waiting at the end of the save, with no way to agree.
    """
    failures: list[str] = []

    def attempted(write: Callable[..., Any]) -> Callable[..., None]:
        def attempt(*arguments: Any, **named: Any) -> None:
            try:
                write(*arguments, **named)
            except WRITE_ERRORS as error:
                failures.append(f"a file could not be written ({str(error).splitlines()[0]})")

        return attempt

    files = engine.checkpoint_engine
    files.save, engine._copy_recovery_script = attempted(files.save), attempted(engine._copy_recovery_script)
    try:
        yield failures
    finally:
        del files.save, engine._copy_recovery_script  # the class's own show again
