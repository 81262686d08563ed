"""A benchmark index on disk: built once, its arrays mapped into every worker's memory instead of copied there."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codellama_train.artifacts import read_json, write_json
from codellama_train.recipe.data_benchmarks import Decontamination
from data_prep.contamination.hash_sets import HashSet, Owners
from data_prep.contamination.index import BenchmarkIndex
from data_prep.contamination.items import Item
from data_prep.contamination.patterns import Pattern
from data_prep.contamination.renamed_index import RenamedIndex

ITEMS, PATTERNS, RULES = "items.parquet", "patterns.parquet", "rules.json"
_ARRAYS = ("items", "window", "needed", "rare_needed")  # of the renamed solutions


def save_index(index: BenchmarkIndex, folder: Path) -> None:
    """Write an index into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RULES, index.rules.model_dump(mode="json"))
    _write_rows(folder / ITEMS, index.items, ("benchmark", "name", "texts", "solutions"))
    _write_rows(folder / PATTERNS, index.patterns, ("item", "letters", "exact"))
    renamed = index.renamed
    for name, hashes in (("ngrams", index.ngrams), ("windows", index.windows), ("runs", renamed.runs)):
        _save(folder, name, hashes=hashes.hashes, marks=hashes.marks, buckets=hashes.buckets)
    lists = {
        "ngram_items": index.ngram_items,
        "window_patterns": index.window_patterns,
        "solutions": renamed.solutions,
        "rare": renamed.rare,
    }
    for name, owners in lists.items():
        _save(folder, name, starts=owners.starts, numbers=owners.numbers)
    _save(folder, "renamed", **{name: getattr(renamed, name) for name in _ARRAYS})


def load_index(folder: Path) -> BenchmarkIndex:
    """Read an index; once in a process's life."""
    return _read(folder, (folder / PATTERNS).stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read(folder: Path, _: int) -> BenchmarkIndex:
    rules = Decontamination.model_validate(read_json(folder / RULES))
    items = [
        Item(row["benchmark"], row["name"], tuple(row["texts"]), tuple(row["solutions"]))
        for row in pq.read_table(folder / ITEMS).to_pylist()
    ]
    patterns = [Pattern(**row) for row in pq.read_table(folder / PATTERNS).to_pylist()]
    ngrams, windows, runs = (
        HashSet(**{part: _load(folder, name, part) for part in ("hashes", "marks", "buckets")})
        for name in ("ngrams", "windows", "runs")
    )
    ngram_items, window_patterns, solutions, rare = (
        Owners(_load(folder, name, "starts"), _load(folder, name, "numbers"))
        for name in ("ngram_items", "window_patterns", "solutions", "rare")
    )
    arrays = {name: _load(folder, "renamed", name) for name in _ARRAYS}
    renamed = RenamedIndex(rules.near_similarity, runs=runs, solutions=solutions, rare=rare, **arrays)
    return BenchmarkIndex(rules, tuple(items), ngrams, ngram_items, tuple(patterns), windows, window_patterns, renamed)


def _write_rows(path: Path, rows: Any, names: tuple[str, ...]) -> None:
    kinds = {"item": pa.int32(), "letters": pa.binary(), "exact": pa.binary()}
    kinds |= dict.fromkeys(("benchmark", "name"), pa.string()) | dict.fromkeys(
        ("texts", "solutions"), pa.list_(pa.string())
    )
    columns = {name: pa.array([getattr(row, name) for row in rows], kinds[name]) for name in names}
    pq.write_table(pa.table(columns), path)


def _save(folder: Path, name: str, **arrays: np.ndarray) -> None:
    for part, array in arrays.items():
        np.save(folder / f"{name}.{part}.npy", array)


def _load(folder: Path, name: str, part: str) -> Any:
    return np.load(folder / f"{name}.{part}.npy", mmap_mode="r")
