"""Which documents a stage keeps: one table per part, with the counts and samples that explain it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codellama_train.console import UserError
from data_prep.documents import write_table
from data_prep.parts import DECISIONS, BoolArray, file_name, only, source_of
from data_prep.removals import Removals, in_words

# The tags that `write_decisions` needs to account for a removal.
ACCOUNT_COLUMNS = ("document_id", "repository", "path", "beginning", "num_bytes")
SIZES = ("documents_in", "bytes_in", "documents_out", "bytes_out")


def write_decisions(
    folder: Path, part: str, tags: pa.Table, kept_before: BoolArray, reasons: Sequence[str | None]
) -> dict[str, Any]:
    """Write which documents of a part are kept: those kept before for which there is no reason to drop them.

    `tags` has at least the ACCOUNT_COLUMNS, `reasons` one entry per row. Gives the part's share of the manifest.
    """
    assert len(tags) == len(kept_before) == len(reasons), (len(tags), len(kept_before), len(reasons))
    given = np.asarray(reasons, dtype=object)
    has_reason = np.asarray([reason is not None for reason in reasons], dtype=np.bool_)
    kept, dropped = kept_before & ~has_reason, kept_before & has_reason
    table = pa.table(
        {
            "document_id": tags["document_id"],
            "kept": pa.array(kept),
            "reason": pa.array(given, pa.string(), mask=~dropped),
        }
    )
    write_table(folder / file_name(DECISIONS, part), table)
    num_bytes = numbers(tags, "num_bytes")
    source, removals = source_of(part), Removals()
    rows = only(tags.select([name for name in ACCOUNT_COLUMNS if name != "document_id"]), dropped).to_pylist()
    for row, why in zip(rows, given[dropped], strict=True):
        path = f"{row['repository']}: {row['path']}"
        removals.add(source, why, path=path, text=row["beginning"], num_bytes=row["num_bytes"])
    sizes = (kept_before.sum(), num_bytes[kept_before].sum(), kept.sum(), num_bytes[kept].sum())
    return {"sources": {source: dict(zip(SIZES, map(int, sizes), strict=True))}, "removed": removals.as_json()}


def merge_facts(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Put the parts' shares together: what went in and out of every source, and what was left out."""
    sources: dict[str, dict[str, int]] = {}
    removals = Removals()
    for facts in parts:
        for source, sizes in facts["sources"].items():
            total = sources.setdefault(source, dict.fromkeys(sizes, 0))
            for name, value in sizes.items():
                total[name] += value
        removals.merge(Removals.from_json(facts["removed"]))
    return {"sources": dict(sorted(sources.items())), "removed": removals.as_json()}


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
    """Give a numeric column as an array; what is not known is NaN."""
    return np.asarray(table[column].to_numpy())
