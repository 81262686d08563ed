"""Sources of kind `jsonl`: rows of JSON-lines files, plain ones in ranges of bytes, packed ones as streams."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from codellama_train.console import UserError
from codellama_train.recipe.data_sources import JsonlSource
from data_prep.documents import Document
from data_prep.removals import Removals
from data_prep.sources.columns import Columns
from data_prep.sources.data_files import data_files
from data_prep.sources.files import in_bytes
from data_prep.sources.input_files import InputFile, shares
from data_prep.sources.plans import Plan
from data_prep.sources.rows import documents_of_row
from data_prep.sources.untrusted_files import LeftOut

PACKED_ENDINGS = (".gz", ".zst")
ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst", ".ndjson")
TASK_BYTES = 64_000_000
LINES_LOOKED_AT = 100
LONGEST_ESCAPE = 6  # bytes that JSON may take for one of a text: \u0000
LONGEST_METADATA = 1_000_000  # bytes of a line that are not its text
BAD_PACKING = (OSError, EOFError, zlib.error, pa.ArrowInvalid)


def identity(name: str, source: JsonlSource) -> list[str]:
    """Give the files that the source's paths mean on this machine; what is in them is not watched."""
    return [file.path for file in data_files(name, source.paths, ENDINGS, Removals())]


def plan(name: str, source: JsonlSource, removals: Removals, _: Path) -> Plan:
    """Give tasks of about TASK_BYTES, each the beginning of lines between two places of a file."""
    files = data_files(name, source.paths, ENDINGS, removals)
    if files:
        _require_columns(name, source, files[0])
    tasks: list[dict[str, Any]] = []
    for file, share in zip(files, shares(files, in_bytes(source.max_megabytes)), strict=True):
        tasks += _tasks_of(file, share)
    return Plan(tasks)


def _tasks_of(file: InputFile, share: int | None) -> Iterator[dict[str, Any]]:
    if file.path.endswith(PACKED_ENDINGS):
        yield {"path": file.path, "label": file.label, "start": 0, "stop": share}
        return
    end = file.num_bytes if share is None else min(share, file.num_bytes)
    for start in range(0, end, TASK_BYTES):
        yield {"path": file.path, "label": file.label, "start": start, "stop": min(start + TASK_BYTES, end)}


def _require_columns(name: str, source: JsonlSource, file: InputFile) -> None:
    """Refuse at once a file of another kind, and rows that have not what the source needs."""
    lines = _rows_of(file.path, file.label, 0, None, _longest_line(source))
    for _, row in islice(lines, LINES_LOOKED_AT):
        if not isinstance(row, LeftOut):
            Columns(source).require(f"sources.{name}", file.label, row)
            return
        if row.reason == "unreadable":
            return  # counted when it is read
    if next(lines, None) is not None:
        raise UserError(
            f"sources.{name}: none of the first {LINES_LOOKED_AT} lines of {file.path} is a JSON object, as "
            "kind='jsonl' reads them; give its own kind, or another file"
        )


def read(name: str, source: JsonlSource, task: dict[str, Any]) -> Iterator[Document | LeftOut]:
    """Read the rows that begin in a task's range; runs in a worker."""
    columns = Columns(source)
    for place, row in _rows_of(task["path"], task["label"], task["start"], task["stop"], _longest_line(source)):
        if isinstance(row, LeftOut):
            yield row
        else:
            yield from documents_of_row(name, source, columns, row, place)


def _longest_line(source: JsonlSource) -> int:
    return LONGEST_ESCAPE * source.max_file_bytes + LONGEST_METADATA


def _rows_of(
    path: str, label: str, start: int, stop: int | None, longest_line: int
) -> Iterator[tuple[str, dict[str, Any] | LeftOut]]:
    """Give the rows of the lines that begin from `start` to before `stop`, each named by where it begins."""
    try:
        with _unpacked(path) as file:
            for offset, line in _lines(file, start, stop, longest_line):
                place = f"{label}:{offset}"
                yield place, LeftOut(Path(place), "huge") if line is None else _row_of(line, place)
    except BAD_PACKING as error:
        yield label, LeftOut(Path(path), "unreadable", detail=str(error))


def _row_of(line: bytes, place: str) -> dict[str, Any] | LeftOut:
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        return LeftOut(Path(place), "not_utf8", len(line), error.reason)
    except (ValueError, RecursionError) as error:
        return LeftOut(Path(place), "not_json", len(line), str(error))
    return row if isinstance(row, dict) else LeftOut(Path(place), "not_a_json_object", len(line))


def _lines(file: BinaryIO, start: int, stop: int | None, longest_line: int) -> Iterator[tuple[int, bytes | None]]:
    """Give the lines that are not blank, with where they begin; None for one that is too long, which is passed over."""
    position = start
    if start:
        file.seek(start - 1)
        position += _pass_over_line(file) - 1
    while stop is None or position < stop:
        line = file.readline(longest_line)
        if not line:
            return
        begins, position = position, position + len(line)
        if len(line) == longest_line and not line.endswith(b"\n"):
            position += _pass_over_line(file)
            yield begins, None
        elif line.strip():
            yield begins, line


def _pass_over_line(file: BinaryIO) -> int:
    """Read up to the end of a line; gives how many bytes that were."""
    passed = 0
    while part := file.readline(1 << 20):
        passed += len(part)
        if part.endswith(b"\n"):
            break
    return passed


@contextmanager
def _unpacked(path: str) -> Iterator[BinaryIO]:
    if path.endswith(".gz"):
        with gzip.open(path) as packed:
            yield cast(BinaryIO, packed)
    elif path.endswith(".zst"):
        with io.BufferedReader(pa.input_stream(path, compression="zstd")) as stream:
            yield stream
    else:
        with Path(path).open("rb") as file:
            yield file
