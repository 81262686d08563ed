"""What a row becomes: by the source's role a file of code, natural language, or a dialogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from codellama_train.recipe.data_sources import RowsTable
from codellama_train.tokens.dialogue import Message, Role
from data_prep.documents import Document, document_id
from data_prep.sources.columns import Columns
from data_prep.sources.dialogues import fault_of, text_of_messages
from data_prep.sources.documentation import is_documentation
from data_prep.sources.files import documentation_parts, prose_parts
from data_prep.sources.untrusted_files import NOTEBOOK_SUFFIX, LeftOut, Refused, decode
from data_prep.sources.values import as_count, as_license, as_text, as_time
from data_prep.tags.languages import DIALOGUE, ENGLISH, language_of

NOTEBOOK_LANGUAGE = "jupyter notebook"
# Roles by the words of the OpenAI, ShareGPT and Open Assistant formats.
ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


def documents_of_row(
    name: str, source: RowsTable, columns: Columns, row: Mapping[str, Any], place: str
) -> Iterator[Document | LeftOut]:
    """Give the documents of one row, or why there are none; `place` names the row in its source."""
    files = columns.find(row, "files")
    if isinstance(files, list):
        shared = {key: value for key, value in row.items() if value is not files}
        for index, file in enumerate(files):
            if isinstance(file, Mapping):
                yield from _documents_of_one(name, source, columns, {**shared, **file}, f"{place}:{index}")
    else:
        yield from _documents_of_one(name, source, columns, row, place)


def _documents_of_one(
    name: str, source: RowsTable, columns: Columns, row: Mapping[str, Any], place: str
) -> Iterator[Document | LeftOut]:
    repository = as_text(columns.find(row, "repository")) or name
    path = as_text(columns.find(row, "path")) or place
    try:
        for part, text, language in _parts(source, columns, row, path):
            yield Document(
                document_id=document_id(name, repository, path.encode(), f"{place}:{part}"),
                text=text,
                source=name,
                language=language,
                repository=repository,
                path=path,
                license=as_license(columns.find(row, "license")) or source.license,
                stars=as_count(columns.find(row, "stars")),
                forks=as_count(columns.find(row, "forks")),
                revision_time=as_time(columns.find(row, "revision_time")),
            )
    except Refused as refusal:
        yield LeftOut(Path(f"{place} {path}"), refusal.reason, detail=refusal.detail)


def _parts(source: RowsTable, columns: Columns, row: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Give name, text and language of each document that a row holds."""
    if source.role == "instruction":
        yield "", _dialogue(source, columns, row), DIALOGUE
        return
    for mark in ("vendored", "generated"):
        if columns.find(row, mark) is True:
            raise Refused(f"marked_{mark}")
    if _is_notebook(columns, row, path):
        raise Refused("notebook")
    text = _text(columns.find(row, "text"), source.max_file_bytes)
    if source.role == "code":
        yield "", text, _language(source, columns, row, path, text)
    elif source.role == "language":
        yield from prose_parts(text, source.document_characters)
    elif source.min_docstring_characters is None:
        yield "", text, ENGLISH
    elif is_documentation(Path(path)):
        yield from documentation_parts(Path(path), text, source.min_docstring_characters)
    else:
        raise Refused("other_kind_of_file")


def _text(value: Any, max_file_bytes: int) -> str:
    """Check a row's text as a file's would be."""
    if not isinstance(value, str | bytes):
        raise Refused("no_text", type(value).__name__)
    try:
        data = value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError as error:
        raise Refused("not_utf8", error.reason) from error
    if len(data) > max_file_bytes:
        raise Refused("huge")
    return decode(data)


def _is_notebook(columns: Columns, row: Mapping[str, Any], path: str) -> bool:
    language = as_text(columns.find(row, "language")).lower()
    return language == NOTEBOOK_LANGUAGE or path.lower().endswith(NOTEBOOK_SUFFIX)


def _language(source: RowsTable, columns: Columns, row: Mapping[str, Any], path: str, text: str) -> str:
    """Tell a row's programming language: by its path, by its extension, by its own word, or by the recipe's."""
    extension = as_text(columns.find(row, "extension"))
    language = language_of(PurePosixPath(path).name, text) or (extension and language_of(f"x.{extension}", text))
    language = language or as_text(columns.find(row, "language")).lower() or source.language
    if not language:
        raise Refused("unknown_language")
    return language


def _dialogue(source: RowsTable, columns: Columns, row: Mapping[str, Any]) -> str:
    messages = list(_messages(columns, row))
    if (fault := fault_of(messages)) is not None:
        raise Refused(fault)
    return _text(text_of_messages(messages), source.max_file_bytes)


def _messages(columns: Columns, row: Mapping[str, Any]) -> Iterator[Message]:
    """Give a row's messages, by either of the two ways rows have them."""
    listed = columns.find(row, "messages")
    if listed is None:
        yield _message("user", columns.find(row, "prompt"))
        yield _message("assistant", columns.find(row, "completion"))
        return
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, Mapping):
            raise Refused("no_messages", type(entry).__name__)
        yield _message(entry.get("role", entry.get("from")), entry.get("content", entry.get("value")))


def _message(role: Any, content: Any) -> Message:
    known = ROLES.get(as_text(role).lower())
    if known is None or not isinstance(content, str | bytes):
        raise Refused("no_messages", f"role {role!r}")
    return Message(known, as_text(content).strip())
