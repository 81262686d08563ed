"""Stage 1, ingest: every source's raw files become rows of the document table, or are left out for a named reason.

A source is read in tasks that are planned once, so that a killed ingest goes on with the files it first found.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.data_sources import Source
from data_prep.documents import PartWriter
from data_prep.removals import Removals, in_words
from data_prep.sources.kinds import kind_of
from data_prep.sources.repository_facts import identity as facts_identity
from data_prep.sources.repository_facts import with_facts
from data_prep.sources.untrusted_files import LeftOut, shown
from data_prep.work import Facts, Work


class ReadTask(NamedTuple):
    """One task of a source: its number, and what the source's kind planned for it."""

    number: int
    content: Any


def run(work: Work) -> dict[str, Any]:
    """Read all sources of the recipe into `documents-<part>.parquet`."""
    removals = Removals()
    facts: dict[str, Any] = {}
    for name, source in work.recipe.sources.items():  # all before any is read, so that a mistake shows at once
        work.remember(f"plan-{name}", partial(_plan, name, source, work))
    for name, source in work.recipe.sources.items():
        own, origin = _read_source(name, source, work, removals)
        facts[name] = {key: sum(each[key] for each in own) for key in ("documents_out", "bytes_out")} | origin
        if not facts[name]["documents_out"]:
            raise UserError(f"sources.{name} gives no documents ({_why(name, removals)}); name other paths or files")
    return {"sources": facts, "removed": removals.as_json()}


def _why(name: str, removals: Removals) -> str:
    """Say for which reasons all of a source was left out, with an example of the first."""
    reasons = removals.as_json().get(name, {})
    samples = [sample for entry in reasons.values() for sample in entry["samples"]]
    example = [f"for example {samples[0]['path']}: {samples[0]['text']}".rstrip(": ")] if samples else []
    return "; ".join([in_words(reasons), *example])


def inputs_of(recipe: DataRecipe) -> list[Any]:
    """Give what decides the stage's output: the sources, and what they name on this machine."""
    return [
        [name, source.model_dump(mode="json"), kind_of(source).identity(name, source), facts_identity(name, source)]
        for name, source in recipe.sources.items()
    ]


def _read_source(name: str, source: Source, work: Work, removals: Removals) -> tuple[list[Facts], Facts]:
    """Plan a source's tasks, or take up its plan, and do them; gives each one's facts, and those of the plan."""
    planned = work.remember(f"plan-{name}", partial(_plan, name, source, work))
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
    return facts, planned["facts"]


def _plan(name: str, source: Source, work: Work) -> dict[str, Any]:
    removals = Removals()
    planned = kind_of(source).plan(name, source, removals, work.run_dir / "downloads")
    return {"tasks": planned.tasks, "facts": planned.facts, "removed": removals.as_json()}


def _write_task(task: ReadTask, folder: Path, *, source_name: str, source: Source) -> Facts:
    """Write one task's documents as parts; runs in a worker."""
    removals = Removals()
    writer = PartWriter(folder, source_name, task.number)
    for entry in with_facts(source, kind_of(source).read(source_name, source, task.content)):
        if isinstance(entry, LeftOut):
            path = shown(entry.relative)
            removals.add(source_name, entry.reason, path=path, text=entry.detail, num_bytes=entry.num_bytes)
        else:
            writer.add(entry)
    writer.flush()
    return {"documents_out": writer.num_documents, "bytes_out": writer.num_bytes, "removed": removals.as_json()}
