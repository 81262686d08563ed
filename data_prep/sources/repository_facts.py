"""A side table of what is known of repositories, joined to documents by the repository's name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.data_sources import SourceTable
from data_prep.documents import Document
from data_prep.sources.untrusted_files import LeftOut
from data_prep.sources.values import as_count, as_license, as_text, as_time

# The names that tables of repositories use: plain ones, those of The Stack, and those of GitHub's interface.
REPOSITORY = ("repository", "repo_name", "full_name", "max_stars_repo_name")
STARS = ("stars", "star_events_count", "stargazers_count", "max_stars_count")
FORKS = ("forks", "fork_events_count", "forks_count", "max_forks_count")
LICENSE = ("license", "detected_licenses", "max_stars_repo_licenses")
DATE = ("date", "revision_date", "pushed_at", "revision_time")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the table says of one repository; None where it says nothing."""

    stars: int | None
    forks: int | None
    license: str | None
    revision_time: int | None


def identity(name: str, source: SourceTable) -> str | None:
    """Give the checksum of a source's table of facts, if it has one."""
    if source.repository_facts is None:
        return None
    path = Path(source.repository_facts.path).expanduser()
    if not path.is_file():
        raise UserError(f"sources.{name}.repository_facts.path names {str(path)!r}, where there is no file")
    facts_of(str(path))
    return artifacts.sha256_of(path)


def with_facts(source: SourceTable, entries: Iterator[Document | LeftOut]) -> Iterator[Document | LeftOut]:
    """Complete documents by the table: where it says something, it says it in place of the origin."""
    if source.repository_facts is None:
        yield from entries
        return
    known = facts_of(str(Path(source.repository_facts.path).expanduser()))
    for entry in entries:
        yield _completed(entry, known) if isinstance(entry, Document) else entry


def _completed(document: Document, known: dict[str, Facts]) -> Document:
    """Look a repository up by its name, or without the folder of the recipe that it was found in."""
    facts = known.get(document.repository) or known.get(document.repository.partition("/")[2])
    if facts is None:
        return document
    said = {name: value for name in Facts.__slots__ if (value := getattr(facts, name)) is not None}
    return replace(document, **said)


@lru_cache(maxsize=4)
def facts_of(path: str) -> dict[str, Facts]:
    """Read a table once in a process's life; it is held in memory."""
    table = _read(path)
    names = _column(path, table, REPOSITORY)
    if names is None:
        raise UserError(
            f"{path} has the columns {', '.join(table.column_names)}; a table of repository facts needs one of "
            f"{', '.join(REPOSITORY)}"
        )
    stars, forks, licenses, dates = (_column(path, table, some) for some in (STARS, FORKS, LICENSE, DATE))
    nothing = [None] * len(names)
    facts: dict[str, Facts] = {}
    for name, *said in zip(
        names, stars or nothing, forks or nothing, licenses or nothing, dates or nothing, strict=True
    ):
        if (repository := as_text(name)) in facts:
            raise UserError(f"{path} names the repository {repository} twice; give each once")
        facts[repository] = Facts(as_count(said[0]), as_count(said[1]), as_license(said[2]), as_time(said[3]))
    return facts


def _read(path: str) -> pa.Table:
    try:
        if path.endswith(".parquet"):
            return pq.ParquetFile(path).read()
        return pyarrow.csv.read_csv(path) if ".csv" in path else pyarrow.json.read_json(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} is no table of CSV, JSON lines or Parquet: {error}") from error


def _column(path: str, table: pa.Table, names: tuple[str, ...]) -> list[Any] | None:
    found = next((name for name in names if name in table.column_names), None)
    try:
        return None if found is None else table[found].to_pylist()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the column {found} is not UTF-8 text") from error
