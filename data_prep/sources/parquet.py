"""Sources of kind `parquet`: rows of Parquet files, read in batches of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codellama_train.recipe.data_sources import ParquetSource
from data_prep.documents import Document, digest
from data_prep.removals import Removals
from data_prep.sources.columns import Columns
from data_prep.sources.data_files import data_files
from data_prep.sources.files import in_bytes
from data_prep.sources.input_files import InputFile
from data_prep.sources.plans import Plan
from data_prep.sources.rows import documents_of_row
from data_prep.sources.untrusted_files import LeftOut

ENDINGS = (".parquet",)
TASK_BYTES = 64_000_000  # unpacked: row groups of one file that are read by one worker
BATCH_BYTES = 16_000_000
MAX_BATCH_ROWS = 1_024


@dataclass(frozen=True)
class RowGroup:
    """Rows that a Parquet file stores together; `num_bytes` is their size unpacked."""

    path: str
    label: str
    index: int
    first_row: int
    num_rows: int
    num_bytes: int


def identity(name: str, source: ParquetSource) -> list[str]:
    """Give the files that the source's paths mean on this machine; what is in them is not watched."""
    return [file.path for file in data_files(name, source.paths, ENDINGS, Removals())]


def plan(name: str, source: ParquetSource, removals: Removals, _: Path) -> Plan:
    """Choose row groups, in the order of a hash of their places, until the source is full."""
    columns = Columns(source)
    groups: list[RowGroup] = []
    for file in data_files(name, source.paths, ENDINGS, removals):
        try:
            with pq.ParquetFile(file.path) as parquet:
                columns.require(f"sources.{name}", file.label, _row_of(pa.struct(list(parquet.schema_arrow))))
                groups += _row_groups(file, parquet.metadata)
        except (OSError, pa.ArrowException) as error:
            removals.add(name, "unreadable", path=file.path, text=str(error), num_bytes=file.num_bytes)
    chosen: set[RowGroup] = set()
    total, limit = 0, in_bytes(source.max_megabytes)
    for group in sorted(groups, key=lambda group: digest(f"{group.label}\0{group.index}".encode())):
        if limit is not None and total >= limit:
            path = f"{group.label}: {group.num_rows:,} rows"
            removals.add(name, "row_group_over_max_megabytes", path=path, num_bytes=group.num_bytes)
        else:
            total += group.num_bytes
            chosen.add(group)
    return Plan(list(_tasks_of([group for group in groups if group in chosen])))


def _row_of(kind: Any) -> Any:
    """Give a row as a schema says that rows are."""
    if pa.types.is_struct(kind):
        return {field.name: _row_of(field.type) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_row_of(kind.value_type)]
    return True


def _row_groups(file: InputFile, metadata: pq.FileMetaData) -> Iterator[RowGroup]:
    first_row = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        yield RowGroup(file.path, file.label, index, first_row, group.num_rows, group.total_byte_size)
        first_row += group.num_rows


def _tasks_of(groups: list[RowGroup]) -> Iterator[list[dict[str, Any]]]:
    """Join neighbouring row groups of one file into tasks of about TASK_BYTES."""
    task: list[RowGroup] = []
    for group in groups:
        if task and (task[0].path != group.path or sum(each.num_bytes for each in task) >= TASK_BYTES):
            yield [asdict(each) for each in task]
            task = []
        task.append(group)
    if task:
        yield [asdict(each) for each in task]


def read(name: str, source: ParquetSource, task: list[dict[str, Any]]) -> Iterator[Document | LeftOut]:
    """Read some row groups of one file; runs in a worker."""
    columns = Columns(source)
    for group in task:
        try:
            for number, row in _rows_of(group, columns):
                place = f"{group['label']}:{number}"
                if isinstance(row, LeftOut):
                    yield row
                else:
                    yield from documents_of_row(name, source, columns, row, place)
        except (OSError, pa.ArrowException) as error:
            yield LeftOut(Path(group["path"]), "unreadable", group["num_bytes"], str(error))


def _rows_of(group: dict[str, Any], columns: Columns) -> Iterator[tuple[int, dict[str, Any] | LeftOut]]:
    """Give the rows of a row group with their numbers in the file."""
    rows = max(min(MAX_BATCH_ROWS, BATCH_BYTES * group["num_rows"] // max(group["num_bytes"], 1)), 1)
    with pq.ParquetFile(group["path"], page_checksum_verification=True) as parquet:
        names = columns.tops(parquet.schema_arrow.names)
        number = group["first_row"]
        for batch in parquet.iter_batches(rows, row_groups=[group["index"]], columns=names):
            arrays = {name: _unchecked(batch[name]) for name in batch.schema.names}
            for index in range(len(batch)):
                try:
                    yield number, {name: array[index].as_py() for name, array in arrays.items()}
                except UnicodeDecodeError as error:  # of a text inside a list or a struct
                    yield number, LeftOut(Path(f"{group['label']}:{number}"), "not_utf8", detail=error.reason)
                number += 1


def _unchecked(array: pa.Array) -> pa.Array:
    """Give text as bytes, since what a Parquet file calls text need not be UTF-8."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        return array.cast(pa.large_binary())
    return array
