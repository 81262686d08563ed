"""Near-duplicate clusters as the stages after deduplication ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from data_prep.documents import id_array

CLUSTERS = "clusters.parquet"


@dataclass(frozen=True)
class Clusters:
    """The members of all clusters, sorted by document id, and each one's cluster."""

    members: npt.NDArray[np.bytes_]
    clusters: npt.NDArray[np.bytes_]

    def of(self, document_ids: npt.NDArray[np.bytes_]) -> npt.NDArray[np.bytes_]:
        """Give each document's cluster; b"" for one that is in none."""
        if not len(self.members):
            return np.full(len(document_ids), b"", dtype="S16")
        places = np.minimum(np.searchsorted(self.members, document_ids), len(self.members) - 1)
        return np.where(self.members[places] == document_ids, self.clusters[places], b"")


def clusters_of(run_dir: Path) -> Clusters:
    """Give the clusters of a finished deduplication, read once in a process's life."""
    path = run_dir / "deduplicate" / CLUSTERS
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read(path: Path, _: int) -> Clusters:
    table = pq.read_table(path, columns=["document_id", "cluster_id"])
    members, clusters = id_array(table["document_id"]), id_array(table["cluster_id"])
    order = np.argsort(members)
    return Clusters(members[order], clusters[order])
