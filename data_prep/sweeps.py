"""Threshold sweeps: what every threshold of a rule would leave, and what each rule drops alone, from the tags only.

Counts are exact at a grid of round numbers and at the recipe's own thresholds; no text is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.parts import BoolArray

# Round numbers: ten in every power of ten, and fiftieths of one for fractions.
STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
GRID = np.unique(
    np.round([0.0, *(step * 10.0**power for power in range(-3, 10) for step in STEPS), *np.arange(51) / 50], 6)
)
WHOLE_GRID = GRID[GRID % 1 == 0]  # for tags that count something
UNITS = ("documents", "bytes")
FLAT_POINTS_KEPT = 1  # grid points beyond the smallest and the largest value, where the curve is flat


@dataclass(frozen=True)
class Sweep:
    """How many documents and bytes have a tag at most, and below, each grid point."""

    points: npt.NDArray[np.float64]
    at_most: npt.NDArray[np.int64]  # (documents and bytes, points)
    below: npt.NDArray[np.int64]
    total: npt.NDArray[np.int64]  # documents and bytes, those whose tag is not known included
    unknown: npt.NDArray[np.int64]  # documents and bytes

    def __add__(self, other: Sweep) -> Sweep:
        """Put the counts of two parts together."""
        return Sweep(
            self.points,
            self.at_most + other.at_most,
            self.below + other.below,
            self.total + other.total,
            self.unknown + other.unknown,
        )


def sweep(
    values: npt.NDArray[np.float64],
    num_bytes: npt.NDArray[np.int64],
    thresholds: Sequence[float] = (),
    *,
    grid: npt.NDArray[np.float64] = GRID,
) -> Sweep:
    """Count documents at every grid point; a NaN is a value that is not known, which no rule drops."""
    points = np.union1d(grid, np.asarray(thresholds, dtype=np.float64))
    known = ~np.isnan(values)
    weights = np.stack([np.ones(len(values), dtype=np.int64), num_bytes])
    at_most = _counted(np.searchsorted(points, values[known], "left"), weights[:, known], len(points))
    below = _counted(np.searchsorted(points, values[known], "right"), weights[:, known], len(points))
    return Sweep(points, at_most, below, weights.sum(axis=1), weights[:, ~known].sum(axis=1))


def _counted(places: npt.NDArray[np.int64], weights: npt.NDArray[np.int64], num_points: int) -> npt.NDArray[np.int64]:
    """Add up each row of weights over the places up to each point; sums of floats are exact up to 2⁵³."""
    sums = [np.bincount(places, weights=row, minlength=num_points + 1)[:num_points] for row in weights]
    return np.cumsum(np.stack(sums), axis=1).astype(np.int64)


def as_json(swept: Sweep, thresholds: Sequence[float] = ()) -> dict[str, Any]:
    """Give a sweep without the points beyond its values, where nothing changes."""
    known = swept.total[0] - swept.unknown[0]
    changes = np.flatnonzero((swept.at_most[0] > 0) & (swept.below[0] < known))
    first, last = (changes[0], changes[-1]) if len(changes) else (0, 0)
    keep = np.zeros(len(swept.points), dtype=np.bool_)
    keep[max(first - FLAT_POINTS_KEPT, 0) : last + FLAT_POINTS_KEPT + 1] = True
    counts = np.concatenate([swept.at_most, swept.below])
    keep[1:] &= (np.diff(counts, axis=1) != 0).any(axis=0)
    keep |= np.isin(swept.points, thresholds)
    return {
        "points": swept.points[keep].tolist(),
        "at_most": dict(zip(UNITS, swept.at_most[:, keep].tolist(), strict=True)),
        "below": dict(zip(UNITS, swept.below[:, keep].tolist(), strict=True)),
        "total": dict(zip(UNITS, swept.total.tolist(), strict=True)),
        "unknown": dict(zip(UNITS, swept.unknown.tolist(), strict=True)),
    }


def numeric_tags(tags: pa.Schema) -> list[str]:
    """Choose the tags that hold numbers of which a threshold makes sense; a mark, 0 or 1, has eight bits."""
    return [
        field.name
        for field in tags
        if (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)) and field.type != pa.int8()
    ]


def marks(tags: pa.Schema) -> list[str]:
    """Choose the tags that are 0, 1 or not known."""
    return [field.name for field in tags if field.type == pa.int8()]


def count_mark(values: npt.NDArray[np.float64], num_bytes: npt.NDArray[np.int64]) -> dict[str, int]:
    """Count the documents that have a mark, and those of which it is not known."""
    has = values == 1
    return {
        "documents": int(has.sum()),
        "bytes": int(num_bytes[has].sum()),
        "unknown": int(np.isnan(values).sum()),
        "of": len(values),
    }


def overlap(masks: Mapping[str, BoolArray], num_bytes: npt.NDArray[np.int64]) -> dict[str, dict[str, int]]:
    """Count, for each rule, the documents and bytes that it drops, and those that no other rule drops."""
    drops = sum((mask.astype(np.int64) for mask in masks.values()), np.zeros(len(num_bytes), dtype=np.int64))
    counts = {}
    for rule, mask in masks.items():
        alone = mask & (drops == 1)
        counts[rule] = {
            "documents": int(mask.sum()),
            "bytes": int(num_bytes[mask].sum()),
            "alone_documents": int(alone.sum()),
            "alone_bytes": int(num_bytes[alone].sum()),
        }
    return counts
