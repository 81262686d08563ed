"""Chunks: the encoded pieces of one part and side, as they lie between the workers and the shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from data_prep.shards.shard_rows import ShardRow

SCHEMA = pa.schema(
    {
        "views": pa.list_(pa.string()),
        "document_id": pa.binary(16),
        "parent_id": pa.binary(16),
        "content": pa.binary(16),
        "path": pa.string(),
        "language": pa.string(),
        "license": pa.string(),
        "beginning": pa.string(),
        "num_bytes": pa.int64(),
        "ids": pa.large_list(pa.uint32()),
        "inexact_cause": pa.string(),
        "predicted": pa.large_list(pa.bool_()),
    }
)
ROWS_PER_BATCH = 1_000


def write_chunk(path: Path, rows: Iterable[ShardRow]) -> int:
    """Write rows as they come; gives their number."""
    count = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        batch: list[ShardRow] = []
        for row in rows:
            batch.append(row)
            count += 1
            if len(batch) == ROWS_PER_BATCH:
                writer.write_batch(_as_batch(batch))
                batch = []
        if batch:
            writer.write_batch(_as_batch(batch))
    return count


def _as_batch(rows: list[ShardRow]) -> pa.RecordBatch:
    columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def read_chunk(path: Path) -> Iterator[ShardRow]:
    """Read the rows back, a batch at a time."""
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            plain = batch.drop_columns(["ids", "predicted"]).to_pylist()
            ids, predicted = batch.column("ids"), batch.column("predicted")
            for number, row in enumerate(plain):
                marks = predicted[number].values
                yield ShardRow(
                    **{**row, "views": tuple(row["views"])},
                    ids=ids[number].values.to_numpy(),
                    predicted=None if marks is None else marks.to_numpy(zero_copy_only=False),
                )
