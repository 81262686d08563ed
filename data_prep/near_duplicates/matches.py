"""Which document of an earlier release each new one repeats, noted while the search goes on and written per part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.documents import write_table
from data_prep.near_duplicates.columns import Column, new_array, open_array
from data_prep.near_duplicates.earlier_releases import Releases
from data_prep.near_duplicates.survey import NONE
from data_prep.parts import file_name

RELEASED = "released"


@dataclass(frozen=True)
class Matches:
    """Two arrays over the new documents' rows: the earlier row that each repeats, or NONE, and how similar it is."""

    folder: Path

    def begin(self, num_rows: int) -> None:
        """Begin with no matches."""
        new_array(self.folder / "match", num_rows, np.uint32, fill=NONE)
        new_array(self.folder / "match_similarity", num_rows, np.float64)

    def add(self, rows: Column, earlier: Column, similarities: Column) -> None:
        """Take matches in; of several of a row the most similar stays, then the one of the first earlier row."""
        order = np.lexsort((earlier, -similarities, rows))
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = rows[order[1:]] != rows[order[:-1]]
        best = order[is_first]
        match, similarity = self._array("match", np.uint32, "r+"), self._array("match_similarity", np.float64, "r+")
        best = best[similarities[best] > similarity[rows[best]]]
        match[rows[best]], similarity[rows[best]] = earlier[best], similarities[best]

    def of(self, rows: slice) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float64]]:
        """Give the earlier rows and the similarities of some rows."""
        return self._array("match", np.uint32, "r")[rows], self._array("match_similarity", np.float64, "r")[rows]

    def _array(self, name: str, dtype: npt.DTypeLike, mode: Any) -> npt.NDArray[Any]:
        return open_array(self.folder / name, dtype, mode)


def write_released(
    folder: Path,
    part: str,
    tags: pa.Table,
    earlier: npt.NDArray[np.uint32],
    similarity: npt.NDArray[np.float64],
    releases: Releases,
) -> None:
    """Name for each document of a part that repeats an earlier release which document of which."""
    is_match = earlier != NONE
    rows = earlier[is_match]
    ids = tags["document_id"].filter(pa.array(is_match))
    matched = pa.array([identity.ljust(16, b"\0") for identity in releases.ids[rows].tolist()], pa.binary(16))
    table = pa.table({"document_id": ids, "release": pa.array(releases.names_of(rows), pa.string())})
    table = table.append_column("match", matched).append_column("similarity", pa.array(similarity[is_match]))
    write_table(folder / file_name(RELEASED, part), table)
