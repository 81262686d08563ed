"""Sources of kind `archives`: files of zip and tar archives, each read twice as a stream, once to choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from codellama_train.recipe.data_sources import ArchivesSource, FilesTable
from data_prep.documents import Document
from data_prep.removals import Removals
from data_prep.sources.archive_streams import BrokenArchive, Member, is_archive, members_of, without_ending
from data_prep.sources.archive_survey import Listed, judged, survey_of
from data_prep.sources.files import Origin, documents_of_file, in_bytes, within_caps
from data_prep.sources.input_files import InputFile, input_files, shares
from data_prep.sources.plans import Plan
from data_prep.sources.roots import Repository
from data_prep.sources.untrusted_files import LeftOut


@dataclass(frozen=True)
class MemberFile:
    """A chosen file of an archive that was read."""

    member: str
    origin: Origin
    data: bytes


def identity(name: str, source: ArchivesSource) -> list[str]:
    """Give the files that the source's paths mean on this machine; what is in them is not watched."""
    return [file.path for file in _files(name, source, Removals())]


def plan(name: str, source: ArchivesSource, removals: Removals, _: Path) -> Plan:
    """Give one task for each archive."""
    files = _files(name, source, removals)
    caps = shares(files, in_bytes(source.max_megabytes))
    pairs = zip(files, caps, strict=True)
    return Plan([{"path": file.path, "label": file.label, "max_bytes": cap} for file, cap in pairs])


def _files(name: str, source: ArchivesSource, removals: Removals) -> list[InputFile]:
    return input_files(f"sources.{name}", source.paths, is_archive, "archive (.zip, .tar, .tar.gz, …)", removals)


def read(name: str, source: ArchivesSource, task: dict[str, Any]) -> Iterator[Document | LeftOut]:
    """Read one archive's files; runs in a worker."""
    for file in files_of_archive(source, Path(task["path"]), task["label"], task["max_bytes"]):
        if isinstance(file, LeftOut):
            yield file
        else:
            yield from documents_of_file(name, source, file.origin, file.data)


def files_of_archive(
    source: FilesTable, archive: Path, label: str, max_bytes: float | None
) -> Iterator[MemberFile | LeftOut]:
    """Choose an archive's files by a first pass, and give their contents by a second."""
    survey = survey_of(archive, source.max_file_bytes)
    repository = Repository(survey.top or without_ending(PurePosixPath(label).name), survey.license)
    listed: list[Listed] = []
    for entry in judged(survey, source, repository.name):
        if isinstance(entry, LeftOut):
            yield LeftOut(archive / entry.relative, entry.reason, entry.num_bytes)
        else:
            listed.append(entry)
    chosen: dict[int, Listed] = {}
    for file, reason in within_caps(listed, max_bytes, in_bytes(source.max_megabytes_per_repository)):
        if reason is None:
            chosen[file.index] = file
        else:
            yield LeftOut(archive / file.relative, reason, file.num_bytes)
    if survey.end is not None:
        yield survey.end
    for member, file in _again(archive, source, chosen):
        origin = Origin(repository.name, repository.license, str(file.relative), member.modified, owner=label)
        try:
            yield MemberFile(member.path, origin, member.read(source.max_file_bytes))
        except BrokenArchive as damage:
            yield LeftOut(archive / member.path, damage.reason, member.num_bytes, damage.detail)


def _again(archive: Path, source: FilesTable, chosen: Mapping[int, Listed]) -> Iterator[tuple[Member, Listed]]:
    """Go through the archive up to the last chosen member, which the first pass came to."""
    left = len(chosen)
    for index, member in enumerate(members_of(archive, longest_read=source.max_file_bytes) if left else ()):
        if index in chosen:
            yield member, chosen[index]
            left -= 1
            if not left:
                return
