"""The cluster table: every member of a near-duplicate cluster, and the copy that is kept for one that is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.near_duplicates.columns import hash_ranges, new_array
from data_prep.near_duplicates.survey import NONE, Ranks, Survey
from data_prep.parts import tags_of

ROWS_PER_GROUP = 65_536
ROWS_AT_A_TIME = 1 << 20
MEMBER_BYTES = 200  # what a member takes while its range is sorted and written
LARGEST, NAMED = 5, 5  # clusters that the manifest describes, and members that it names of each
SCHEMA = pa.schema(
    {
        "document_id": pa.binary(16),
        "cluster_id": pa.binary(16),  # the document id of the cluster's best member
        "kept_copy": pa.binary(16),
        "similarity": pa.float64(),
    }
)
Ranked = npt.NDArray[np.uint32]


def write_cluster_table(
    path: Path,
    ranks: Ranks,
    clusters: Ranked,
    copies: Ranked,
    similarities: npt.NDArray[np.float64],
    *,
    share_bytes: int,
) -> None:
    """Write the members sorted by document id, one range of ids at a time."""
    num_members = sum(int(np.count_nonzero(part != NONE)) for part in _parts(clusters))
    # The ids are hashes, so that equal ranges of their first eight bytes hold about equally many.
    ranges = hash_ranges(1 + num_members * MEMBER_BYTES // share_bytes)
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        waiting = SCHEMA.empty_table()
        for each in ranges:
            members = _members(ranks.ids, clusters, each.low, each.high)
            copy = copies[members]
            table = pa.table(
                {
                    "document_id": _ids(ranks, members),
                    "cluster_id": _ids(ranks, clusters[members]),
                    "kept_copy": _ids(ranks, copy),
                    "similarity": pa.array(similarities[members], mask=copy == NONE),
                },
                schema=SCHEMA,
            )
            waiting = pa.concat_tables([waiting, table]).combine_chunks()
            whole = len(waiting) - len(waiting) % ROWS_PER_GROUP
            _write(writer, waiting[:whole])
            waiting = waiting[whole:]
        _write(writer, waiting)


def _write(writer: pq.ParquetWriter, table: pa.Table) -> None:
    """Write row groups of one size, so that the file does not show into how many ranges the work was cut."""
    if len(table):
        writer.write_table(table, row_group_size=ROWS_PER_GROUP)


def _parts(values: Ranked) -> Iterator[Ranked]:
    yield from (values[start : start + ROWS_AT_A_TIME] for start in range(0, len(values), ROWS_AT_A_TIME))


def _members(ids: npt.NDArray[np.bytes_], clusters: Ranked, low: Any, high: Any) -> npt.NDArray[np.int64]:
    """Give the members whose ids lie in a range, in order of id."""
    found = [np.empty(0, np.int64)]
    for number, part in enumerate(_parts(clusters)):
        members = np.flatnonzero(part != NONE) + number * ROWS_AT_A_TIME
        first_bytes = np.ascontiguousarray(ids[members]).view(">u8").reshape(-1, 2)[:, 0]
        is_inside = np.ones(len(members), dtype=bool)
        if low is not None:
            is_inside &= first_bytes >= low
        if high is not None:
            is_inside &= first_bytes < high
        found.append(members[is_inside])
    members = np.concatenate(found)
    return members[np.argsort(ids[members], kind="stable")]


def _ids(ranks: Ranks, members: npt.NDArray[Any]) -> pa.Array:
    """Give the document ids of ranks; none where there is no rank."""
    is_none = members == NONE
    if is_none.all():
        return pa.nulls(len(members), pa.binary(16))
    ids = np.ascontiguousarray(ranks.ids[np.where(is_none, 0, members)])
    array = pa.Array.from_buffers(pa.binary(16), len(ids), [None, pa.py_buffer(ids.view(np.uint8))])
    return pa.compute.if_else(pa.array(is_none), pa.scalar(None, pa.binary(16)), array)


def cluster_account(folder: Path, surveyed: Survey, ranks: Ranks, clusters: Ranked) -> dict[str, Any]:
    """Summarise the clusters: how many of each size, and some members of the largest."""
    sizes = new_array(folder / "cluster_sizes", len(clusters), np.uint32)
    counts = np.zeros(1, np.int64)
    for part in _parts(clusters):
        np.add.at(sizes, part[part != NONE], 1)
    for part in _parts(sizes):
        own = np.bincount(part)
        counts = np.pad(counts, (0, max(len(own) - len(counts), 0)))
        counts[: len(own)] += own
    by_size = {int(size): int(counts[size]) for size in np.flatnonzero(counts) if size}
    return {
        "count": sum(by_size.values()),
        "documents": sum(size * count for size, count in by_size.items()),
        "sizes": {str(size): count for size, count in sorted(by_size.items())},
        "largest": [
            {"size": int(sizes[cluster]), "documents": [_place(surveyed, int(ranks.rows[rank])) for rank in members]}
            for cluster, members in _largest(clusters, sizes)
        ],
    }


def _largest(clusters: Ranked, sizes: Ranked) -> Iterator[tuple[int, list[int]]]:
    """Give the largest clusters, each with its best members."""
    best: list[tuple[int, int]] = []
    for number, part in enumerate(_parts(sizes)):
        top = np.argsort(-part.astype(np.int64), kind="stable")[:LARGEST]
        best += [(-int(part[place]), int(place) + number * ROWS_AT_A_TIME) for place in top if part[place]]
    for _, cluster in sorted(best)[:LARGEST]:
        members: list[int] = []
        for number, part in enumerate(_parts(clusters)):
            if len(members) < NAMED:
                members += (np.flatnonzero(part == cluster)[:NAMED] + number * ROWS_AT_A_TIME).tolist()
        yield cluster, members[:NAMED]


def _place(surveyed: Survey, row: int) -> str:
    """Say where a document comes from."""
    part = int(np.searchsorted(surveyed.first_rows, row, side="right")) - 1
    tags = tags_of(surveyed.run_dir, surveyed.parts[part], ["repository", "path"])
    place = tags.slice(row - surveyed.first_rows[part], 1).to_pylist()[0]
    return f"{place['repository']}: {place['path']}"
