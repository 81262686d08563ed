"""Sources of kind `pypi`: the files of one pinned package, downloaded once and read as an archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from codellama_train.recipe.data_sources import PypiSource
from data_prep.documents import Document
from data_prep.removals import Removals
from data_prep.sources.archives import MemberFile, files_of_archive
from data_prep.sources.files import Origin, documents_of_file, in_bytes
from data_prep.sources.packages import fetch
from data_prep.sources.plans import Plan
from data_prep.sources.untrusted_files import LeftOut


def identity(_: str, source: PypiSource) -> str:
    """Give what decides the source's documents: the checksum, whatever machine it is."""
    return source.sha256


def plan(name: str, source: PypiSource, _: Removals, downloads: Path) -> Plan:
    """Give the one task: the package's archive, downloaded."""
    return Plan([str(fetch(f"sources.{name}", source, downloads / f"{source.package}-{source.version}"))])


def read(name: str, source: PypiSource, task: str) -> Iterator[Document | LeftOut]:
    """Read the package's files; runs in a worker."""
    for file in files_of_archive(source, Path(task), source.package, in_bytes(source.max_megabytes)):
        if isinstance(file, LeftOut):
            yield file
        else:
            yield from documents_of_file(name, source, _origin(source, file), file.data)


def _origin(source: PypiSource, file: MemberFile) -> Origin:
    """Name the package as the repository; of prose each file is one work, and so a repository of its own."""
    if source.role != "language":
        return replace(file.origin, repository=source.package)
    return Origin(f"{source.package}/{PurePosixPath(file.member).stem}", source.license, file.member)
