"""Parts: the files of a data run's stages, one set of rows each, aligned row for row from ingest to the last decision.

A part holds about PART_BYTES of text of one source, sorted by document id. Its name says source, task and place, so
the parts and their order follow from the recipe and the files alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

BoolArray = npt.NDArray[np.bool_]
DOCUMENTS, TAGS, DECISIONS = "documents", "tags", "decisions"


def part_name(source: str, task: int, place: int) -> str:
    """Name a part: the source, the number of the task that read it, and its place among that task's parts."""
    return f"{source}-{task:06d}-{place:03d}"


def source_of(part: str) -> str:
    """Tell the source that a part's documents come from."""
    return part.partition("-")[0]


def part_names(run_dir: Path) -> list[str]:
    """List the parts of a finished ingest, in their order."""
    return sorted(path.stem.partition("-")[2] for path in (run_dir / "ingest").glob(f"{DOCUMENTS}-*.parquet"))


def file_name(kind: str, part: str) -> str:
    """Name a part's file of one kind."""
    return f"{kind}-{part}.parquet"


def documents_of(run_dir: Path, part: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a part's documents."""
    return _read(run_dir / "ingest" / file_name(DOCUMENTS, part), columns)


def tags_of(run_dir: Path, part: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a part's tags: what is known of its documents besides their texts."""
    return _read(run_dir / "tag" / file_name(TAGS, part), columns)


def kept_by(run_dir: Path, stage: str, part: str) -> BoolArray:
    """Tell for each document of a part whether it survives every stage up to and including `stage`."""
    path = run_dir / stage / file_name(DECISIONS, part)
    return np.asarray(_read(path, ["kept"])["kept"].to_numpy(zero_copy_only=False), dtype=np.bool_)


def only(table: pa.Table, rows: BoolArray) -> pa.Table:
    """Give the chosen rows of a table."""
    return table.filter(pa.array(rows))


def _read(path: Path, columns: Sequence[str] | None) -> Any:
    return pq.ParquetFile(path).read(columns=None if columns is None else list(columns))
