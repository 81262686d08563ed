"""Columns of numbers in flat files that are mapped into memory: a slice is read without reading the rest.

They are Arrow files of one record batch. A file whose first column is sorted is a *run*; many runs together are a table
of any size of which a range can be gathered, so that work goes range by range within a budget of memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Column = npt.NDArray[Any]
Columns = dict[str, Column]
PLACES_AT_A_TIME = 1 << 20
SAMPLES_PER_RANGE = 8  # keys of each run from which the borders of ranges are chosen


def write_columns(path: Path, columns: Mapping[str, Column]) -> None:
    """Write columns; those of bytes ("S16") must be of one length each."""
    arrays = {name: _to_arrow(values) for name, values in columns.items()}
    # Columns may differ in length, which one record batch cannot have: each is a list in a table of one row.
    table = pa.table({name: pa.LargeListArray.from_arrays([0, len(array)], array) for name, array in arrays.items()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _to_arrow(values: Column) -> pa.Array:
    if values.dtype.kind != "S":
        return pa.array(np.ascontiguousarray(values))
    width = values.dtype.itemsize
    buffer = pa.py_buffer(np.ascontiguousarray(values).view(np.uint8))
    return pa.Array.from_buffers(pa.binary(width), len(values), [None, buffer])


def open_columns(path: Path) -> Columns:
    """Map a file: what is used of it is read, and counts as this process's memory while any of its columns is held."""
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    return {name: _to_numpy(batch.column(name).flatten()) for name in batch.schema.names}


def _to_numpy(array: pa.Array) -> Column:
    if not pa.types.is_fixed_size_binary(array.type):
        return np.asarray(array.to_numpy())
    width = array.type.byte_width
    start = array.offset * width
    data = np.frombuffer(array.buffers()[1], np.uint8)[start : start + len(array) * width]
    return data.view(f"S{width}")


@dataclass(frozen=True)
class Run:
    """A file whose first column is sorted; its columns named `row…` count documents from `first_row`."""

    path: Path
    first_row: int = 0


def gathered(runs: Sequence[Run], names: Sequence[str], low: Any = None, high: Any = None) -> list[Column]:
    """Give the columns' rows whose first column lies in [low, high), run after run; None means unbounded."""
    slices: list[list[Column]] = [[] for _ in names]
    for run in runs:
        columns = open_columns(run.path)
        within = bounds(columns[names[0]], low, high)
        for values, name in zip(slices, names, strict=True):
            part = columns[name][within]
            values.append(part + part.dtype.type(run.first_row) if name.startswith("row") else part)
    return [np.concatenate(values) for values in slices]


def bounds(keys: Column, low: Any, high: Any) -> slice:
    """Find the rows of a sorted column that lie in [low, high)."""
    start = 0 if low is None else int(np.searchsorted(keys, low))
    return slice(start, len(keys) if high is None else int(np.searchsorted(keys, high)))


@dataclass(frozen=True)
class Range:
    """One of `count` ranges of keys, worked on at a time."""

    index: int
    count: int
    low: Any
    high: Any

    @property
    def name(self) -> str:
        """Name the range in a file's name; another cut has other names, so that a resumed run never mixes two."""
        borders = hashlib.sha256(repr((self.low, self.high)).encode()).hexdigest()
        return f"{self.index:05d}-of-{self.count:05d}-{borders[:8]}"


def hash_ranges(count: int) -> list[Range]:
    """Cut the 64-bit numbers into equal ranges."""
    return _ranges([np.uint64((index << 64) // count) for index in range(1, count)])


def key_ranges(runs: Sequence[Run], name: str, count: int) -> list[Range]:
    """Cut the keys of runs into ranges of about equal numbers of rows."""
    if count == 1 or not runs:
        return _ranges([])
    samples = []
    for run in runs:
        keys = open_columns(run.path)[name]
        samples.append(keys[:: max(1, len(keys) // (SAMPLES_PER_RANGE * count))])
    ordered = np.sort(np.concatenate(samples))
    places = [len(ordered) * index // count for index in range(1, count)] if len(ordered) else []
    return _ranges(list(np.unique(ordered[places])))


def _ranges(borders: list[Any]) -> list[Range]:
    lows, highs = [None, *borders], [*borders, None]
    return [Range(index, len(lows), *ends) for index, ends in enumerate(zip(lows, highs, strict=True))]


def distinct(values: Column) -> Column:
    """Sort values, each once; several times faster than NumPy's own."""
    ordered = np.sort(values)
    is_new = np.ones(len(ordered), dtype=bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new]


def new_array(path: Path, count: int, dtype: npt.DTypeLike, *, fill: int = 0) -> npt.NDArray[Any]:
    """Make a file of one number per document, mapped for writing; the system may take its pages from memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if count == 0:
        path.write_bytes(b"")
        return np.zeros(0, dtype)
    values = np.asarray(np.memmap(path, dtype, "w+", shape=(count,)))
    if fill:
        values[:] = fill
    return values


def open_array(path: Path, dtype: npt.DTypeLike, mode: Literal["r", "r+"] = "r") -> npt.NDArray[Any]:
    """Map such a file, for reading or ("r+") to change it."""
    return np.asarray(np.memmap(path, dtype, mode)) if path.stat().st_size else np.zeros(0, dtype)


def mark(array: Column, places: Column, value: int) -> None:
    """Set an array's values at many places, some at a time."""
    for some in chunks(places, PLACES_AT_A_TIME):
        array[some] = value


def chunks(values: Column, size: int) -> Iterator[Column]:
    """Give a column in pieces."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
