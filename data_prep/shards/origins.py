"""Origins: for every piece stored in shards, in stored order, the document it was cut from and what a sum asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_prep.shards.shard_rows import ShardRow

SCHEMA = pa.schema(
    {
        "document_id": pa.binary(16),
        "parent_id": pa.binary(16),  # of the ingested document
        "tokens": pa.int64(),
        "num_bytes": pa.int64(),
        "inexact_cause": pa.string(),
        "language": pa.dictionary(pa.int32(), pa.string()),
        "license": pa.dictionary(pa.int32(), pa.string()),
        "path": pa.string(),
    }
)
NOT_KNOWN = "not known"

Origin = tuple[bytes, bytes, int, int, str | None, str, str | None, str]


def origin_of(row: ShardRow) -> Origin:
    """Give a piece's line of the table."""
    return (
        row.document_id,
        row.parent_id,
        len(row.ids),
        row.num_bytes,
        row.inexact_cause,
        row.language,
        row.license,
        row.path,
    )


def origin_table(origins: Iterable[Origin]) -> pa.Table:
    """Put a side's lines into a table."""
    columns = list(zip(*origins, strict=True)) or [()] * len(SCHEMA)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


def facts_of_side(origins: pa.Table) -> dict[str, Any]:
    """Count what one side of a view holds, and its documents and tokens by language and by licence."""
    causes = pc.value_counts(origins["inexact_cause"].drop_null()).to_pylist()
    return {
        "documents": len(origins),
        "tokens": pc.sum(origins["tokens"]).as_py() or 0,
        "bytes": pc.sum(origins["num_bytes"]).as_py() or 0,
        "inexact_by_cause": {row["values"]: row["counts"] for row in sorted(causes, key=lambda row: row["values"])},
        "languages": _by(origins, "language"),
        "licenses": _by(origins, "license"),
    }


def _by(origins: pa.Table, column: str) -> dict[str, dict[str, int]]:
    """Count documents and tokens by the values of a column, most tokens first."""
    plain = pa.table({column: pc.fill_null(origins[column].cast(pa.string()), NOT_KNOWN), "tokens": origins["tokens"]})
    grouped = plain.group_by(column).aggregate([("tokens", "sum"), ("tokens", "count")])
    rows = sorted(grouped.to_pylist(), key=lambda row: (-row["tokens_sum"], row[column]))
    return {row[column]: {"documents": row["tokens_count"], "tokens": row["tokens_sum"]} for row in rows}
