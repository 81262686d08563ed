"""Stage 1, ingest: every source's raw files become rows of the document table, or are left out for a named reason.

A source is read in tasks that are planned once, so that a killed ingest goes on with the files it first found.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.data_sources import PypiSource, Source
from data_prep import from_folders, from_package
from data_prep.documents import PartWriter
from data_prep.folders import LeftOut, shown
from data_prep.removals import Removals, in_words
from data_prep.work import Facts, Work


class ReadTask(NamedTuple):
    """One task of a source: its number, and what the source's kind planned for it."""

    number: int
    content: Any


def run(work: Work) -> dict[str, Any]:
    """Read all sources of the recipe into `documents-<part>.parquet`."""
    removals = Removals()
    facts: dict[str, Any] = {}
    for name, source in work.recipe.sources.items():
        own = _read_source(name, source, work, removals)
        facts[name] = {key: sum(each[key] for each in own) for key in ("documents_out", "bytes_out")}
        if not facts[name]["documents_out"]:
            reasons = in_words(removals.as_json().get(name, {}))
            raise UserError(f"sources.{name} gives no documents ({reasons}); name other paths or files")
    return {"sources": facts, "removed": removals.as_json()}


def inputs_of(recipe: DataRecipe) -> list[Any]:
    """Give what decides the stage's output: the sources, and what they name on this machine."""
    return [[name, source.model_dump(mode="json"), _identity(name, source)] for name, source in recipe.sources.items()]


def _identity(name: str, source: Source) -> Any:
    return None if isinstance(source, PypiSource) else from_folders.identity(name, source)


def _read_source(name: str, source: Source, work: Work, removals: Removals) -> list[Facts]:
    """Plan a source's tasks, or take up its plan, and do them."""
    planned = work.remember(f"plan-{name}", lambda: _plan(name, source, work))
    removals.merge(Removals.from_json(planned["removed"]))
    tasks = [ReadTask(number, content) for number, content in enumerate(planned["tasks"])]
    facts = work.produce(
        partial(_write_task, source_name=name, source=source),
        tasks,
        name=lambda task: f"{name}-{task.number:06d}",
        description=f"ingest {name}",
        unit="tasks",
    )
    for each in facts:
        removals.merge(Removals.from_json(each["removed"]))
    return facts


def _plan(name: str, source: Source, work: Work) -> dict[str, Any]:
    removals = Removals()
    if isinstance(source, PypiSource):
        tasks = from_package.plan(name, source, work.run_dir / "downloads")
    else:
        tasks = from_folders.plan(name, source, removals)
    return {"tasks": tasks, "removed": removals.as_json()}


def _write_task(task: ReadTask, folder: Path, *, source_name: str, source: Source) -> Facts:
    """Write one task's documents as parts; runs in a worker."""
    removals = Removals()
    writer = PartWriter(folder, source_name, task.number)
    if isinstance(source, PypiSource):
        entries = from_package.read(source_name, source, task.content)
    else:
        entries = from_folders.read(source_name, source, task.content)
    for entry in entries:
        if isinstance(entry, LeftOut):
            path = shown(entry.relative)
            removals.add(source_name, entry.reason, path=path, text=entry.detail, num_bytes=entry.num_bytes)
        else:
            writer.add(entry)
    writer.flush()
    return {"documents_out": writer.num_documents, "bytes_out": writer.num_bytes, "removed": removals.as_json()}
