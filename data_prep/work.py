"""The work inside a stage: tasks spread over workers, each finished one never done again.

A task writes into a folder of its own. When it is done its files move to the stage's folder, and then a receipt with
their checksums is written: after a kill, a task with a receipt whose files are whole is passed over, and everything
else is done anew.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from codellama_train import artifacts
from codellama_train.console import Progress
from codellama_train.recipe.data import DataRecipe
from data_prep.workers import map_in_order

logger = logging.getLogger(__name__)
Task = TypeVar("Task")
Result = TypeVar("Result")
Facts = dict[str, Any]

RECEIPTS, UNFINISHED, REMEMBERED, FINGERPRINT = ".receipts", ".unfinished", ".remembered", ".fingerprint"
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Work:
    """What a stage is given: the recipe, a folder to fill, and the run folder with the stages before it.

    Entries of the folder whose names begin with a dot are scratch that the finished stage does not keep.
    """

    recipe: DataRecipe
    folder: Path
    run_dir: Path

    @property
    def workers(self) -> int:
        """Processes to use."""
        return self.recipe.machine.workers or os.cpu_count() or 1

    @property
    def memory_bytes(self) -> int:
        """What one stage may take in all its processes together."""
        return self.recipe.machine.memory_megabytes * MEGABYTE

    def output_of(self, stage: str) -> Path:
        """Give the finished folder of an earlier stage."""
        return self.run_dir / stage

    def map(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        *,
        description: str,
        unit: str,
        size: Callable[[Task], float] = lambda _: 1,
    ) -> Iterator[Result]:
        """Give `function(task)` for every task, in the tasks' order."""
        progress = Progress(description, total=sum(map(size, tasks)), unit=unit)
        cluster = self.recipe.machine.cluster
        return map_in_order(function, tasks, workers=self.workers, progress=progress, size=size, cluster=cluster)

    def produce(
        self,
        function: Callable[[Task, Path], Facts],
        tasks: Sequence[Task],
        *,
        name: Callable[[Task], str],
        description: str,
        unit: str,
        size: Callable[[Task], float] = lambda _: 1,
        into: str = "",
    ) -> list[Facts]:
        """Give `function(task, folder)`'s facts in the tasks' order; what it writes into `folder` goes to `into`."""
        names = [name(task) for task in tasks]
        assert len(set(names)) == len(names), "two tasks of one name"
        known = [self._finished(into, each) for each in names]
        waiting = [(each, task) for each, task, facts in zip(names, tasks, known, strict=True) if facts is None]
        if waiting and len(waiting) < len(tasks):
            logger.info("%s: %d of %d tasks are done already", description, len(tasks) - len(waiting), len(tasks))
        work = partial(_produce_one, function=function, folder=self.folder, into=into)
        made = self.map(work, waiting, description=description, unit=unit, size=lambda task: size(task[1]))
        return [next(made) if facts is None else facts for facts in known]

    def remember(self, name: str, compute: Callable[[], Any]) -> Any:
        """Give `compute()`, a JSON value, as it was when the stage was first begun."""
        path = self.folder / REMEMBERED / f"{name}.json"
        if not path.is_file():
            # Escaped, because names of files may hold halves of surrogate pairs.
            artifacts.write_text(path, json.dumps(compute(), ensure_ascii=True))
        return artifacts.read_json(path)

    def _finished(self, into: str, name: str) -> Facts | None:
        """Give the facts of a finished task whose files are still what they were."""
        receipt = _read_receipt(_receipt_path(self.folder, into, name))
        if receipt is None or not all(map(_is_whole, _paths(self.folder, receipt), receipt["files"].values())):
            return None
        facts: Facts = receipt["facts"]
        return facts


def _produce_one(named: tuple[str, Task], *, function: Callable[[Task, Path], Facts], folder: Path, into: str) -> Facts:
    """Do one task and write its receipt; runs in a worker."""
    name, task = named
    own = folder / UNFINISHED / into / name
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    facts = function(task, own)
    files = {}
    for path in sorted(path for path in own.rglob("*") if path.is_file()):
        relative = Path(into) / path.relative_to(own)
        files[str(relative)] = artifacts.vouch_for(path)
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        path.replace(folder / relative)
    shutil.rmtree(own)
    artifacts.write_json(_receipt_path(folder, into, name), {"files": files, "facts": facts})
    return facts


def _receipt_path(folder: Path, into: str, name: str) -> Path:
    return folder / RECEIPTS / into / f"{name}.json"


def _read_receipt(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    receipt: dict[str, Any] = artifacts.read_json(path)
    return receipt


def _paths(folder: Path, receipt: dict[str, Any]) -> list[Path]:
    return [folder / name for name in receipt["files"]]


def _is_whole(path: Path, facts: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == facts["bytes"] and artifacts.sha256_of(path) == facts["sha256"]


def unfinished_folder(path: Path, fingerprint: str) -> Path:
    """Give the folder in which a stage is made: a killed one's, if it was to become the same, else a fresh one."""
    folder = path.parent.resolve() / f".{path.name}.partial"
    marker = folder / FINGERPRINT
    if not marker.is_file() or marker.read_text("utf-8") != fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        artifacts.write_text(marker, fingerprint)
    return folder


def finished_files(folder: Path) -> dict[str, Any]:
    """Clear a stage's folder of scratch and describe the files that stay, by their receipts where they have one."""
    known: dict[str, Any] = {}
    for path in (folder / RECEIPTS).rglob("*.json"):
        known |= artifacts.read_json(path)["files"]
    for scratch in folder.glob(".*"):
        shutil.rmtree(scratch) if scratch.is_dir() else scratch.unlink()
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {name: known[name] if name in known else artifacts.vouch_for(folder / name) for name in names}
