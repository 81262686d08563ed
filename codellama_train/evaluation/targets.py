"""Which models are scored and where their scores go. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.model_folder import model_folder
from codellama_train.run_folder import FINAL


@dataclass(frozen=True)
class Target:
    """A model to score and the folder its scores go to."""

    model: Path
    scores: Path


def targets(paths: Sequence[Path], output: Path | None) -> list[Target]:
    """Say where each model's scores go: into its run folder, or for a bare model folder into `output`/<its name>."""
    found = []
    for path in paths:
        folder = model_folder(path)
        run = folder.parent if folder.name == FINAL else None
        if run is None and output is None:
            raise UserError(f"{path} is a model folder outside a run; say where its scores go with --output DIRECTORY")
        found.append(Target(folder, run or Path(output or "") / folder.name))
    places = [target.scores.resolve() for target in found]
    for path, place in zip(paths, places, strict=True):
        if places.count(place) > 1:
            raise UserError(f"{path} and another model would both write their scores to {place}; name each once")
    return found


def model_identity(folder: Path) -> str:
    """Name a model by its manifest, or by the bytes of its files where it has none."""
    if (folder / artifacts.MANIFEST).is_file():
        return artifacts.manifest_fingerprint(folder)
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    return artifacts.fingerprint({path.name: artifacts.sha256_of(path) for path in paths})
