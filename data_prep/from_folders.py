"""Documents from folders: files found and chosen once, then read in tasks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codellama_train.console import Progress
from codellama_train.recipe.data_sources import DocumentationSource, FoldersSource
from data_prep.documentation import is_documentation, texts_of
from data_prep.documents import Document, digest, document_id
from data_prep.folders import FoundFile, LeftOut, Refused, find_files, read_text, shown
from data_prep.languages import ENGLISH, language_of, language_of_name
from data_prep.removals import Removals
from data_prep.roots import Repository, Root, resolve_roots, resolved_folders

MEGABYTE = 1_000_000
FILES_PER_TASK = 200
FolderSource = FoldersSource | DocumentationSource


@dataclass(frozen=True)
class ChosenFile:
    """A found file that the size caps leave in, with its origin."""

    file: FoundFile
    repository: Repository


def identity(name: str, source: FolderSource) -> list[str]:
    """Give what decides the source's documents besides its keys: the folders that its paths mean on this machine.

    What is in the folders is not watched: a finished ingest is a snapshot.
    """
    return [shown(folder) for folder in resolved_folders(f"sources.{name}.paths", source.paths)]


def plan(name: str, source: FolderSource, removals: Removals) -> list[Any]:
    """Walk the folders, choose files within the size caps, and give the tasks: lists of files."""
    found: list[ChosenFile] = []
    for root in resolve_roots(f"sources.{name}.paths", source.paths):
        found += _files_below(name, source, root, removals)
    files = [_as_json(file) for file in _within_caps(name, source, found, removals)]
    return [files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK)]


def _as_json(chosen: ChosenFile) -> dict[str, Any]:
    return {
        "path": os.fspath(chosen.file.path),
        "relative": os.fspath(chosen.file.relative),
        "num_bytes": chosen.file.num_bytes,
        "repository": chosen.repository.name,
        "license": chosen.repository.license,
    }


def _files_below(name: str, source: FolderSource, root: Root, removals: Removals) -> Iterator[ChosenFile]:
    progress = Progress(f"ingest {name}: looking through {root.path}", total=None, unit="entries")
    is_wanted = _is_source_code if isinstance(source, FoldersSource) else is_documentation
    for entry in find_files(
        root.path,
        exclude_folders=source.exclude_folders,
        max_file_bytes=source.max_file_bytes,
        is_wanted=is_wanted,
    ):
        progress.advance()
        if isinstance(entry, LeftOut):
            path = shown(root.path / entry.relative)
            removals.add(name, entry.reason, path=path, text=entry.detail, num_bytes=entry.num_bytes)
        else:
            yield ChosenFile(entry, root.repository_of(entry.relative))


def _is_source_code(relative: Path) -> bool:
    return language_of_name(relative.name) is not None


def _within_caps(name: str, source: FolderSource, found: Sequence[ChosenFile], removals: Removals) -> list[ChosenFile]:
    """Take files in the order of a hash of their names until a repository's language, or the source, is full."""
    total = 0
    by_group: dict[tuple[str, str | None], int] = {}
    chosen: list[ChosenFile] = []
    for file in sorted(found, key=_hash_of_name):
        group = (file.repository.name, language_of_name(file.file.relative.name))
        size = by_group.get(group, 0)
        reason = "over_max_megabytes" if total >= source.max_megabytes * MEGABYTE else None
        reason = "over_max_megabytes_per_repository" if size >= _repository_cap(source) else reason
        if reason is not None:
            removals.add(name, reason, path=shown(file.file.path), num_bytes=file.file.num_bytes)
            continue
        total += file.file.num_bytes
        by_group[group] = size + file.file.num_bytes
        chosen.append(file)
    return chosen


def _repository_cap(source: FolderSource) -> int:
    return source.max_megabytes_per_repository * MEGABYTE


def _hash_of_name(file: ChosenFile) -> bytes:
    return digest(file.repository.name.encode(errors="surrogateescape") + b"\0" + bytes(file.file.relative))


def read(name: str, source: FolderSource, task: Sequence[dict[str, Any]]) -> Iterator[Document | LeftOut]:
    """Read some files; runs in a worker."""
    for file in task:
        path = Path(file["path"])
        try:
            text = read_text(path, source.max_file_bytes)
            yield from _documents_of(name, source, file, text)
        except Refused as refusal:
            yield LeftOut(path, refusal.reason, file["num_bytes"], refusal.detail)


def _documents_of(name: str, source: FolderSource, file: dict[str, Any], text: str) -> Iterable[Document]:
    """Give the documents of one file that was read: the file, or its natural-language parts."""
    relative = Path(file["relative"])
    if isinstance(source, FoldersSource):
        language = language_of(relative.name, text)
        assert language is not None, relative
        return [_document(name, file, "", text, language)]
    try:
        parts = list(texts_of(relative, text, min_docstring_characters=source.min_docstring_characters))
    except SyntaxError as error:
        raise Refused("does_not_parse", str(error)) from error
    return [_document(name, file, part, content, ENGLISH) for part, content in parts]


def _document(name: str, file: dict[str, Any], part: str, text: str, language: str) -> Document:
    repository, relative = file["repository"], Path(file["relative"])
    return Document(
        document_id=document_id(name, repository, bytes(relative), part),
        text=text,
        source=name,
        language=language,
        repository=shown(Path(repository)),
        path=shown(relative),
        license=file["license"],
    )
