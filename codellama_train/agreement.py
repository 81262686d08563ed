"""Refuse to train together what is not the same; code, libraries, recipe and data are compared before all else."""

from __future__ import annotations

import socket
import time
import tomllib
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.distributed import Processes, barrier, from_first, gathered
from codellama_train.recipe.loading import as_toml
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import describe_software, first_difference, origins

NEW_FOLDERS = 3  # that a launch may have made: the run's own, its family's and that of all runs
SHOWN_AFTER_SECONDS = 10.0


def require_agreement(recipe: TrainingRecipe) -> None:
    """Compare what every process was started with; a difference is refused, naming it and the rank."""
    launches = gathered({"host": socket.gethostname(), "started": describe_start(recipe)})
    first = launches[0]
    for rank, other in enumerate(launches):
        names = {"stored_is": f"on rank 0 ({first['host']})", "asked_is": f"on rank {rank} ({other['host']})"}
        difference = first_difference(first["started"], other["started"], **names)
        if difference is not None:
            raise UserError(
                f"the processes do not agree: {difference}; give every machine the same code, command and data"
            )


def require_everywhere(checks: Sequence[Callable[[], None]]) -> None:
    """Check every process's own machine, and let all processes refuse what one of them must."""
    refusal = None
    try:
        for check in checks:
            check()
    except UserError as error:
        refusal = str(error)
    for host, text in gathered((socket.gethostname(), refusal)):
        if text is not None:
            raise UserError(f"on {host}: {text}")


def require_shared_folder(run_dir: Path, processes: Processes) -> None:
    """Refuse a run folder that some machine does not see; each writes its part of every checkpoint there."""
    sign = run_dir / from_first(f".launch-{uuid.uuid4().hex}")
    if processes.is_first:
        sign.touch()
    barrier()
    try:
        require_everywhere([partial(_await_sign, sign)])
    finally:
        if processes.is_first:
            sign.unlink()


def _await_sign(sign: Path) -> None:
    deadline = time.monotonic() + SHOWN_AFTER_SECONDS
    while not _is_shown(sign):
        if time.monotonic() > deadline:
            raise UserError(
                f"{sign.parent} is not the folder of that name on the first machine; share runs among all machines, at "
                "the same path"
            )
        time.sleep(1)


def _is_shown(sign: Path) -> bool:
    """Tell whether a file is there; to open the folders above it makes NFS forget that it has not seen them before."""
    for folder in [*sign.parents][NEW_FOLDERS - 1 :: -1]:
        if not folder.is_dir():
            return False
        next(folder.iterdir(), None)
    return sign.exists()


def describe_start(recipe: TrainingRecipe) -> dict[str, Any]:
    """Say what this process was started with; shards and a base of ours stand for themselves by their manifests."""
    return {
        "software": describe_software(),
        "code": source_fingerprint(),
        "recipe": tomllib.loads(as_toml(recipe)),
        "origin": origins(recipe),
        "validation": held_out_fingerprints(recipe),
    }


def held_out_fingerprints(recipe: TrainingRecipe) -> dict[str, str]:
    """Tell the shards of a recipe's validation by their manifests; refuses ones that are not there."""
    shards = recipe.validation.shards if recipe.validation else {}
    for name, folder in shards.items():
        if artifacts.read_manifest(folder) is None:
            raise UserError(
                f"validation.shards.{name}: there are no finished shards at {folder}; scripts/prepare_data.py writes "
                "them, or leave the source out"
            )
    return {name: artifacts.manifest_fingerprint(folder) for name, folder in shards.items()}


def source_fingerprint() -> str:
    """Hash the package's source files, which may differ where a commit's name does not say so."""
    folder = Path(__file__).resolve().parent
    return artifacts.fingerprint(
        {str(path.relative_to(folder)): artifacts.sha256_of(path) for path in folder.rglob("*.py")}
    )
