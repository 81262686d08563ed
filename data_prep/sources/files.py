"""What files become: by the source's role code as it is, the natural language in it, or prose cut at paragraphs."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from codellama_train.recipe.data_sources import FilesTable
from data_prep.documents import Document, digest, document_id
from data_prep.sources.documentation import is_documentation, texts_of
from data_prep.sources.prose import split_prose
from data_prep.sources.untrusted_files import LeftOut, Refused, begins_with, decode, shown
from data_prep.tags.languages import (
    ENGLISH,
    has_no_extension,
    is_told_by_content,
    kind_of_language,
    language_of,
    language_of_name,
)

MEGABYTE = 1_000_000
LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # what git holds in place of a large file


@dataclass(frozen=True)
class Origin:
    """Where a file's text comes from; `owner` tells apart in ids what repository names alone may not."""

    repository: str
    license: str | None
    relative: str  # as the file system or archive names it, odd bytes escaped as Python does
    revision_time: int | None = None
    owner: str | None = None


def wanted_by(source: FilesTable, root: Path | None) -> Callable[[Path], bool]:
    """Give the test of which files a source takes by their names: its globs, or the kind its role is made of.

    `root` is the folder the files are in, where they can be looked into; of others more are read.
    """
    if source.files is not None:
        globs = source.files
        return lambda relative: matches(str(relative), globs)
    return is_documentation if source.role == "code_language" else partial(_may_be_code, source, root)


def _may_be_code(source: FilesTable, root: Path | None, relative: Path) -> bool:
    """Tell whether a file may be in a wanted language by its name, or is a script that names its interpreter."""
    language = language_of_name(relative.name)
    if language is not None:
        return kind_of_language(language) in source.language_kinds
    if has_no_extension(relative.name):
        return root is None or begins_with(root / relative, b"#!")
    return is_told_by_content(relative.name)


def matches(path: str, globs: Sequence[str]) -> bool:
    """Compare a path with globs; its top folder may be left out of them."""
    return any(fnmatch.fnmatchcase(name, glob) for name in (path, path.partition("/")[2]) for glob in globs)


def documents_of_file(name: str, source: FilesTable, origin: Origin, data: bytes) -> Iterator[Document | LeftOut]:
    """Give the documents of one file, or why there are none."""
    relative = Path(origin.relative)
    try:
        if data.startswith(LFS_POINTER):
            raise Refused("lfs_pointer")
        text = decode(data)
        for part, content, language in _parts(source, relative, text):
            yield _document(name, source, origin, part, content, language)
    except Refused as refusal:
        yield LeftOut(relative, refusal.reason, len(data), refusal.detail)


def _parts(source: FilesTable, relative: Path, text: str) -> Iterator[tuple[str, str, str]]:
    """Give name, text and language of each document that a file holds."""
    if source.role == "code":
        language = language_of(relative.name, text)
        if language is None or kind_of_language(language) not in source.language_kinds:
            raise Refused("other_kind_of_file")
        yield "", text, language
    elif source.role == "language":
        yield from prose_parts(text, source.document_characters)
    else:
        assert source.min_docstring_characters is not None, source.role
        yield from documentation_parts(relative, text, source.min_docstring_characters)


def prose_parts(text: str, document_characters: int | None) -> Iterator[tuple[str, str, str]]:
    """Give a text of general language, cut at paragraphs where it is longer than a document should be."""
    if document_characters is None:
        yield "", text, ENGLISH
    else:
        yield from ((str(index), part, ENGLISH) for index, part in enumerate(split_prose(text, document_characters)))


def documentation_parts(relative: Path, text: str, min_docstring_characters: int) -> Iterator[tuple[str, str, str]]:
    """Give the natural language in a file about code."""
    try:
        parts = list(texts_of(relative, text, min_docstring_characters=min_docstring_characters))
    except SyntaxError as error:
        raise Refused("does_not_parse", str(error)) from error
    yield from ((part, content, ENGLISH) for part, content in parts)


def _document(name: str, source: FilesTable, origin: Origin, part: str, text: str, language: str) -> Document:
    owner = origin.repository if origin.owner is None else origin.owner
    return Document(
        document_id=document_id(name, owner, os.fsencode(origin.relative), part),
        text=text,
        source=name,
        language=language,
        repository=shown(Path(origin.repository)),
        path=shown(Path(origin.relative)),
        license=origin.license or source.license,
        revision_time=origin.revision_time,
    )


class Sized(Protocol):
    """What the size caps ask of a file that was found."""

    @property
    def repository_name(self) -> str:
        """The repository the cap per repository counts it under."""

    @property
    def relative(self) -> Path:
        """Its path below the root or in the archive."""

    @property
    def num_bytes(self) -> int:
        """Its size."""


AnyFile = TypeVar("AnyFile", bound=Sized)


def within_caps(
    found: Iterable[AnyFile], max_bytes: float | None, max_bytes_per_repository: float | None
) -> Iterator[tuple[AnyFile, str | None]]:
    """Take files in the order of a hash of their names until a repository's language, or the source, is full.

    Gives each file with None if it is taken, else with the reason why not.
    """
    total = 0
    by_group: dict[tuple[str, str | None], int] = {}
    for file in sorted(found, key=_hash_of_name):
        group = (file.repository_name, language_of_name(file.relative.name))
        size = by_group.get(group, 0)
        if max_bytes_per_repository is not None and size >= max_bytes_per_repository:
            yield file, "over_max_megabytes_per_repository"
        elif max_bytes is not None and total >= max_bytes:
            yield file, "over_max_megabytes"
        else:
            total += file.num_bytes
            by_group[group] = size + file.num_bytes
            yield file, None


def in_bytes(megabytes: int | None) -> int | None:
    """Give a recipe's bound in bytes; None is no bound."""
    return None if megabytes is None else megabytes * MEGABYTE


def _hash_of_name(file: Sized) -> bytes:
    return digest(file.repository_name.encode(errors="surrogateescape") + b"\0" + bytes(file.relative))
