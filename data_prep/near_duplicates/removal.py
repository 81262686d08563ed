"""What follows from verified pairs: clusters, which are all that chains of pairs connect, and which copies go.

Both take the pairs as they lie in files, some at a time, and keep one number per document in mapped files.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.near_duplicates.columns import Column, new_array
from data_prep.near_duplicates.survey import NONE

VerifiedPairs = Iterable[tuple[Column, Column, Column]]  # worse, better, similarity, sorted by worse then better
Ranked = npt.NDArray[np.uint32]


def components(path: Path, num_documents: int, pairs: VerifiedPairs) -> Ranked:
    """Give every document in a pair the best rank that chains of pairs lead to; NONE for all others."""
    parent: Ranked = new_array(path, num_documents, np.uint32, fill=NONE)
    for worse, better, _ in pairs:
        for members in (np.unique(worse), np.unique(better)):
            fresh = members[parent[members] == NONE]
            parent[fresh] = fresh
        _join(parent, worse, better)
    for start in range(0, num_documents, 1 << 20):
        members = start + np.flatnonzero(parent[start : start + (1 << 20)] != NONE)
        parent[members] = _roots(parent, members)
    return parent


def _join(parent: Ranked, worse: Ranked, better: Ranked) -> None:
    """Connect pairs: hang the larger of two roots below the smaller, until both ends of every pair have one root."""
    while True:
        first, second = _roots(parent, worse), _roots(parent, better)
        parent[worse], parent[better] = first, second
        apart = first != second
        if not apart.any():
            return
        worse, better, first, second = worse[apart], better[apart], first[apart], second[apart]
        np.minimum.at(parent, np.maximum(first, second), np.minimum(first, second))


def _roots(parent: Ranked, members: Column) -> Ranked:
    """Follow the parents up to where they end."""
    roots = parent[members]
    while not np.array_equal(above := parent[roots], roots):
        roots = above
    return roots


def removed_copies(folder: Path, num_documents: int, pairs: VerifiedPairs) -> tuple[Ranked, npt.NDArray[np.float64]]:
    """Give for every dropped document its most similar kept copy (NONE for one not dropped) and the similarity.

    Documents are visited in rank order; one is dropped only if a verified near copy of it is already kept. So no two
    kept documents form a verified pair, and no dropped one is without a kept copy.
    """
    copies: Ranked = new_array(folder / "copies", num_documents, np.uint32, fill=NONE)
    similarities: npt.NDArray[np.float64] = new_array(folder / "similarities", num_documents, np.float64)
    current, most = -1, 0.0
    for some in pairs:
        for worse, better, similarity in zip(*(column.tolist() for column in some), strict=True):
            if worse != current:
                current, most = worse, 0.0
            # The better document has been decided, for all its pairs have been seen; of equal ones the best stays.
            if similarity > most and copies[better] == NONE:
                copies[worse], similarities[worse] = better, similarity
                most = similarity
    return copies, similarities
