"""The document table: one row per document, stored as Parquet parts (parts.py says what a part is)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.parts import DOCUMENTS, file_name, part_name

PART_BYTES = 4_000_000  # of text: the unit of work of every later stage

SCHEMA = pa.schema(
    {
        "document_id": pa.binary(16),
        "text": pa.string(),
        "source": pa.string(),
        "language": pa.string(),
        "repository": pa.string(),
        "path": pa.string(),
        "license": pa.string(),
        "stars": pa.int64(),
        "forks": pa.int64(),
        "revision_time": pa.timestamp("s", tz="UTC"),
    }
)


@dataclass(frozen=True)
class Document:
    """One text and where it came from; None where the origin does not say."""

    document_id: bytes
    text: str
    source: str
    language: str
    repository: str
    path: str
    license: str | None = None
    stars: int | None = None
    forks: int | None = None
    revision_time: int | None = None


def document_id(source: str, repository: str, path: bytes, part: str = "") -> bytes:
    """Name a document by where it came from, so that a second run gives it the same 16 bytes.

    `path` is the file's name as the file system holds it, which need not be text.
    """
    fields = (source.encode(), repository.encode(errors="surrogateescape"), path, part.encode())
    return digest(b"".join(len(field).to_bytes(4, "little") + field for field in fields))


def digest(data: bytes) -> bytes:
    """Hash to 16 bytes."""
    return hashlib.blake2b(data, digest_size=16).digest()


class PartWriter:
    """Writes one task's documents, as they come, into parts that are each sorted by document id."""

    def __init__(self, folder: Path, source: str, task: int) -> None:
        self._folder, self._source, self._task = folder, source, task
        self._waiting: list[Document] = []
        self._waiting_bytes = 0
        self._parts = 0
        self.num_documents = 0
        self.num_bytes = 0

    def add(self, document: Document) -> None:
        """Take one document."""
        num_bytes = len(document.text.encode())
        self._waiting.append(document)
        self._waiting_bytes += num_bytes
        self.num_documents += 1
        self.num_bytes += num_bytes
        if self._waiting_bytes >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the documents that wait, if there are any."""
        if self._waiting:
            ordered = sorted(self._waiting, key=lambda document: document.document_id)
            part = part_name(self._source, self._task, self._parts)
            write_table(self._folder / file_name(DOCUMENTS, part), rows_to_table(ordered, SCHEMA))
            self._waiting, self._waiting_bytes, self._parts = [], 0, self._parts + 1


def rows_to_table(rows: Iterable[Any], schema: pa.Schema) -> pa.Table:
    """Put dataclass rows into a table."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file; the same table always gives the same bytes."""
    pq.write_table(table, path, compression="zstd", row_group_size=4096)


def id_array(column: pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """Give a column of 16-byte ids as an array that sorts and compares as the ids do."""
    return np.frombuffer(b"".join(column.to_pylist()), dtype="S16")
