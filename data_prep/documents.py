"""The document table: one row per document, stored as Parquet parts sorted by document id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

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


def write_documents(folder: Path, documents: Iterable[Document]) -> int:
    """Write documents as parts sorted by document id; returns how many there are."""
    ordered = sorted(documents, key=lambda document: document.document_id)
    for index, part in enumerate(parts_of(ordered)):
        write_table(folder / f"documents-{index:05d}.parquet", rows_to_table(part, SCHEMA))
    return len(ordered)


def parts_of(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """Cut a sequence of documents into parts of about PART_BYTES of text; always at least one part."""
    part: list[Document] = []
    size = 0
    for document in documents:
        part.append(document)
        size += len(document.text)
        if size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part or not documents:
        yield part


def rows_to_table(rows: Iterable[Any], schema: pa.Schema) -> pa.Table:
    """Put dataclass rows into a table."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file; the same table always gives the same bytes."""
    pq.write_table(table, path, compression="zstd", row_group_size=4096)


def document_parts(folder: Path) -> list[Path]:
    """List the parts of a finished ingest folder, in order of document id."""
    return sorted(folder.glob("documents-*.parquet"))


def read_texts(part: Path, document_ids: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Read the rows of one part that are asked for, in order of document id."""
    table = pq.read_table(part)
    yield from table.filter(is_one_of(table["document_id"], document_ids)).to_pylist()


def is_one_of(column: pa.ChunkedArray, values: Sequence[bytes]) -> pa.ChunkedArray:
    """Tell for each id of a column whether it is among `values`."""
    return pc.is_in(column.cast(pa.binary()), value_set=pa.array(values, pa.binary()))
