"""Sources of kind `folders` and `documentation`: files below folders, in git checkouts, and in bare repositories."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from codellama_train.console import Progress
from codellama_train.recipe.data_sources import DocumentationSource, FoldersSource
from data_prep.documents import Document
from data_prep.removals import Removals
from data_prep.sources.bare_repositories import contents_of_bare, files_of_bare
from data_prep.sources.checkouts import Checkouts, with_commit_times
from data_prep.sources.files import Origin, documents_of_file, in_bytes, wanted_by, within_caps
from data_prep.sources.found_files import File
from data_prep.sources.git_objects import has_git
from data_prep.sources.plans import Plan
from data_prep.sources.roots import Root, resolve_roots, resolved_folders
from data_prep.sources.untrusted_files import (
    FoundFile,
    FoundRepository,
    LeftOut,
    Refused,
    find_files,
    read_bytes,
    shown,
)

FILES_PER_TASK = 200
REPOSITORIES_AT_ONCE = 4  # each is listed by a process of git

FolderSource = FoldersSource | DocumentationSource


def identity(name: str, source: FolderSource) -> list[str]:
    """Give what decides the source's documents besides its keys: the folders that its paths mean on this machine.

    What is in the folders is not watched: a finished ingest is a snapshot.
    """
    return [shown(folder) for folder in resolved_folders(f"sources.{name}.paths", source.paths)]


def plan(name: str, source: FolderSource, removals: Removals, _: Path) -> Plan:
    """Walk the folders, choose files within the size caps, and say which commits they are of."""
    found: list[File] = []
    for root in resolve_roots(f"sources.{name}.paths", source.paths):
        found += _files_below(name, source, root, removals)
    chosen: list[File] = []
    caps = in_bytes(source.max_megabytes), in_bytes(source.max_megabytes_per_repository)
    for file, reason in within_caps(found, *caps):
        if reason is None:
            chosen.append(file)
        else:
            removals.add(name, reason, path=_shown(file), num_bytes=file.num_bytes)
    files = with_commit_times(chosen)
    return Plan(list(_tasks_of(files)), _commits_of(files))


def _commits_of(files: Sequence[File]) -> dict[str, Any]:
    """Say which commit of each repository was read, where it has files in git."""
    tracked = [file for file in files if file.is_object or file.revision_time is not None]
    commits = {shown(Path(file.repository.name)): file.history.commit for file in tracked if file.history is not None}
    return {"commits": dict(sorted(commits.items()))} if commits else {}


def read(name: str, source: FolderSource, task: dict[str, Any]) -> Iterator[Document | LeftOut]:
    """Read a task's files; runs in a worker."""
    bare, files = task["bare"], task["files"]
    for file, data in contents_of_bare(bare, files) if bare else _contents(files, source.max_file_bytes):
        if isinstance(data, LeftOut):
            yield data
        else:
            origin = Origin(file["repository"], file["license"], file["relative"], file["revision_time"])
            yield from documents_of_file(name, source, origin, data)


def _contents(files: Sequence[dict[str, Any]], max_file_bytes: int) -> Iterator[tuple[dict[str, Any], bytes | LeftOut]]:
    for file in files:
        path = Path(file["place"])
        try:
            yield file, read_bytes(path, max_file_bytes)
        except Refused as refusal:
            yield file, LeftOut(path, refusal.reason, file["num_bytes"], refusal.detail)


def _files_below(name: str, source: FolderSource, root: Root, removals: Removals) -> Iterator[File]:
    """Walk one root; which repository a file belongs to is known once all checkouts are found."""
    progress = Progress(f"ingest {name}: looking through {root.path}", total=None, unit="entries")
    checkouts = Checkouts(root.path if root.default is not None else None)
    files: list[FoundFile] = []
    for entry in _entries_below(source, root, checkouts):
        progress.advance()
        if isinstance(entry, FoundFile):
            files.append(entry)
        elif isinstance(entry, File):
            yield entry
        else:
            path = shown(root.path / entry.relative)
            removals.add(name, entry.reason, path=path, text=entry.detail, num_bytes=entry.num_bytes)
    for file in files:
        history, tracked = checkouts.tracked(file.relative)
        repository = root.repository_of(file.relative)
        yield File(str(file.path), file.relative, file.num_bytes, repository, history, tracked)


def _entries_below(source: FolderSource, root: Root, checkouts: Checkouts) -> Iterator[FoundFile | File | LeftOut]:
    """Give what a root holds: files on disk, files of bare repositories, and what is left out."""
    bare: list[FoundRepository] = []
    for entry in find_files(
        root.path,
        exclude_folders=source.exclude_folders,
        max_file_bytes=source.max_file_bytes,
        is_wanted=wanted_by(source, root.path),
    ):
        if isinstance(entry, FoundFile | LeftOut):
            yield entry
        elif entry.is_bare:
            bare.append(entry)
        elif root.default is not None:  # an interpreter's own folders belong to packages
            checkouts.add(entry.path, entry.relative)
            root.add_checkout(entry.relative)
    if bare and not has_git():
        yield from (LeftOut(entry.relative, "bare_repository_without_git") for entry in bare)
        return
    with ThreadPoolExecutor(REPOSITORIES_AT_ONCE) as threads:
        for entries in threads.map(partial(_files_of_bare, source, root), bare):
            yield from entries


def _files_of_bare(source: FolderSource, root: Root, found: FoundRepository) -> list[File | LeftOut]:
    return list(
        files_of_bare(
            found.path,
            root.name_of_repository(found.relative),
            source.revision,
            exclude_folders=source.exclude_folders,
            max_file_bytes=source.max_file_bytes,
            is_wanted=wanted_by(source, None),
        )
    )


def _tasks_of(files: Sequence[File]) -> Iterator[dict[str, Any]]:
    """Group files on disk as they come, and those of bare repositories by repository."""
    on_disk = [file for file in files if not file.is_object]
    yield from ({"bare": None, "files": some} for some in _in_groups(on_disk))
    objects = sorted((file for file in files if file.is_object), key=_git_folder)
    for _, group in groupby(objects, key=_git_folder):
        same = list(group)
        assert same[0].history is not None, same[0]
        yield from ({"bare": asdict(same[0].history), "files": some} for some in _in_groups(same))


def _in_groups(files: Sequence[File]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(files), FILES_PER_TASK):
        yield [_as_json(file) for file in files[start : start + FILES_PER_TASK]]


def _as_json(file: File) -> dict[str, Any]:
    return {
        "place": file.place,
        "relative": os.fspath(file.relative),
        "num_bytes": file.num_bytes,
        "repository": file.repository.name,
        "license": file.repository.license,
        "revision_time": file.revision_time,
    }


def _git_folder(file: File) -> str:
    assert file.history is not None, file
    return file.history.git_folder


def _shown(file: File) -> str:
    return shown(Path(file.repository.name) / file.relative if file.is_object else Path(file.place))
