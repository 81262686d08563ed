"""Which documents a stage keeps: written as two tables of ids, with the counts and samples that explain them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codellama_train.console import UserError
from data_prep.documents import is_one_of, write_table
from data_prep.removals import Removals, in_words
from data_prep.stage import Work
from data_prep.tag import read_tags

KEPT = "kept.parquet"
DROPPED = "dropped.parquet"


def survivors(work: Work, of: str | None) -> pa.Table:
    """Give the tag rows of the documents that stage `of` kept (None: all), in order of document id."""
    tags = read_tags(work.output_of("tag"))
    if of is None:
        return tags
    kept = pq.read_table(work.output_of(of) / KEPT)["document_id"].to_pylist()
    return tags.filter(is_one_of(tags["document_id"], kept)).combine_chunks()


def write_decisions(work: Work, documents: pa.Table, reasons: Sequence[str | None]) -> dict[str, Any]:
    """Write which of `documents` are kept (no reason) and dropped, and give the manifest's account of it."""
    assert len(documents) == len(reasons), (len(documents), len(reasons))
    column = pa.array(reasons, pa.string())
    kept, dropped = documents.filter(pc.is_null(column)), documents.filter(pc.is_valid(column))
    write_table(work.folder / KEPT, kept.select(["document_id"]))
    reason = column.filter(pc.is_valid(column))
    write_table(work.folder / DROPPED, dropped.select(["document_id"]).append_column("reason", reason))
    removals = Removals()
    for row, why in zip(
        dropped.select(["source", "repository", "path", "beginning", "num_bytes"]).to_pylist(),
        reason.to_pylist(),
        strict=True,
    ):
        path = f"{row['repository']}: {row['path']}"
        removals.add(row["source"], why, path=path, text=row["beginning"], num_bytes=row["num_bytes"])
    return {"sources": _sizes(documents, kept), "removed": removals.as_json()}


def _sizes(before: pa.Table, after: pa.Table) -> dict[str, dict[str, int]]:
    """Count documents and bytes of every source before and after."""
    sizes: dict[str, dict[str, int]] = {}
    for suffix, table in (("in", before), ("out", after)):
        grouped = table.group_by("source").aggregate([("num_bytes", "sum"), ("num_bytes", "count")])
        for row in grouped.sort_by("source").to_pylist():
            size = sizes.setdefault(
                row["source"], dict.fromkeys(("documents_in", "bytes_in", "documents_out", "bytes_out"), 0)
            )
            size[f"documents_{suffix}"], size[f"bytes_{suffix}"] = row["num_bytes_count"], row["num_bytes_sum"]
    return dict(sorted(sizes.items()))


def require_documents(stage: str, facts: dict[str, Any]) -> None:
    """Refuse to go on when a source has nothing left, naming what took its documents."""
    for source, sizes in facts["sources"].items():
        if sizes["documents_in"] and not sizes["documents_out"]:
            reasons = in_words(facts["removed"][source])
            raise UserError(
                f"{stage} leaves none of the {sizes['documents_in']:,} documents of source {source!r} ({reasons}); "
                f"loosen that rule or name more paths"
            )


def numbers(table: pa.Table, column: str) -> npt.NDArray[Any]:
    """Give a numeric column as an array."""
    return np.asarray(table[column].to_numpy())
