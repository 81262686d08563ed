"""Checksums by all processes together: each reads a share of a folder's files, and all of them know the outcome.

One process alone would take minutes for a large model's checkpoint, while all others wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codellama_train import artifacts
from codellama_train.artifacts import MANIFEST, CorruptArtifact
from codellama_train.console import UserError
from codellama_train.distributed import Processes, from_first, gathered
from codellama_train.recipe.training import TrainingRecipe


def vouch_together(folder: Path, written: Sequence[Path], processes: Processes) -> tuple[dict[str, Any], str | None]:
    """Flush and hash a folder's files: each process those that it has written, and a share of those nobody names.

    A file is read back fastest where it was written, from memory. Gives what a manifest says of the files, and why it
    failed in some process; None if it did not.
    """
    own = [str(path.relative_to(folder)) for path in written]
    named = {name for names in gathered(own) for name in names}
    others = from_first({name: size for name, size in sizes_in(folder).items() if name not in named})
    own += dealt(others, processes.num_ranks)[processes.rank]
    described, failure = {}, None
    try:
        described = {name: artifacts.vouch_for(folder / name) for name in own}
    except OSError as error:
        failure = f"rank {processes.rank}: {error}"
    everywhere = gathered((described, failure))
    files = {name: facts for share, _ in everywhere for name, facts in share.items()}
    return dict(sorted(files.items())), next((failure for _, failure in everywhere if failure is not None), None)


def damage_together(folder: Path, processes: Processes) -> list[str]:
    """Describe every file of a folder that is not what its manifest says; each process reads a share of them."""
    vouched: tuple[dict[str, Any], list[str]] = from_first(_vouched(folder) if processes.is_first else None)
    files, damage = vouched
    own = dealt({name: facts["bytes"] for name, facts in files.items()}, processes.num_ranks)[processes.rank]
    for found in gathered(artifacts.damage_in(folder, {name: files[name] for name in own})):
        damage += found
    return damage


def require_whole_base(recipe: TrainingRecipe, processes: Processes) -> None:
    """Refuse to train from a base with a damaged file; only folders of ours have checksums to tell by.

    The folder is taken to be the same one for all processes, as the run folder is.
    """
    if recipe.model.init_from is None or artifacts.read_manifest(Path(recipe.model.init_from)) is None:
        return
    damage = damage_together(Path(recipe.model.init_from), processes)
    if damage:
        raise UserError(
            f"model.init_from={recipe.model.init_from!r} is damaged: {'; '.join(damage)}. Put whole files back there, "
            "or remove that folder, and the command that made it makes it again"
        )


def damage_alone(folder: Path) -> list[str]:
    """Describe the same in one process."""
    files, damage = _vouched(folder)
    return damage + artifacts.damage_in(folder, files)


def _vouched(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Give what the manifest says of files; where it is damaged itself, nothing of files, and why."""
    try:
        return artifacts.finished_manifest(folder)["files"], []
    except CorruptArtifact as error:
        return {}, [str(error)]


def sizes_in(folder: Path) -> dict[str, int]:
    """Give the bytes of a folder's files by their names in it, the manifest left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(folder)): path.stat().st_size for path in paths}


def dealt(sizes: Mapping[str, int], num_shares: int) -> list[list[str]]:
    """Deal files into shares of about as many bytes: the largest first, each to the share that has least."""
    shares: list[list[str]] = [[] for _ in range(num_shares)]
    loads = [0] * num_shares
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        least = loads.index(min(loads))
        shares[least].append(name)
        loads[least] += sizes[name]
    return shares
