"""Benchmarks as an index that finds their items in documents: by shared word n-grams, and by whole texts."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codellama_train.console import UserError
from codellama_train.recipe.data_benchmarks import Benchmark
from data_prep.roots import resolve_file
from data_prep.words import ngrams, words_of

# A text of fewer words says too little to be a copy: `return x + y` is everybody's.
FEWEST_WORDS = 8


@dataclass(frozen=True)
class Item:
    """One problem of a benchmark: those of its texts that are long enough to tell, without white space."""

    name: str
    exact: tuple[str, ...]


@dataclass(frozen=True)
class BenchmarkIndex:
    """All benchmarks of a recipe.

    Any match contains one of the `anchors`, the runs of FEWEST_WORDS words, so a document without one is clean.
    """

    items: tuple[Item, ...]
    anchors: Mapping[tuple[str, ...], frozenset[int]]
    ngrams: Mapping[tuple[str, ...], frozenset[int]]
    ngram_words: int


@dataclass(frozen=True)
class Hit:
    """What a document shares with an item."""

    item: str
    shared_ngrams: int
    is_exact: bool


def benchmark_file(name: str, benchmark: Benchmark) -> Path:
    """Find a benchmark's file."""
    key = f"decontamination.benchmarks.{name}"
    remedy = f"install or download the benchmark, or leave [{key}] out and measure nothing with it"
    return resolve_file(f"{key}.path", benchmark.path, remedy=remedy)


def read_items(name: str, benchmark: Benchmark) -> dict[str, list[str]]:
    """Read a benchmark file as {item: its texts}; the item's name begins with the benchmark's."""
    key, path = f"decontamination.benchmarks.{name}", benchmark_file(name, benchmark)
    items: dict[str, list[str]] = {}
    for number, line in enumerate(_lines(key, path), start=1):
        try:
            row: dict[str, Any] = json.loads(line)
            items[f"{name}: {row[benchmark.item_key]}"] = [str(row[text_key]) for text_key in benchmark.text_keys]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(f"{key}.path: line {number} of {path} lacks the recipe's keys ({error!r})") from error
    return items


def _lines(key: str, path: Path) -> list[str]:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return [line for line in data.decode("utf-8").split("\n") if line.strip()]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{key}.path: {path} cannot be read as JSON lines ({error})") from error


def build_index(items: Mapping[str, list[str]], ngram_words: int) -> BenchmarkIndex:
    """Index the items; n-grams run over all texts of an item in order, as a solution follows its prompt."""
    anchors: dict[tuple[str, ...], set[int]] = {}
    long_runs: dict[tuple[str, ...], set[int]] = {}
    known: list[Item] = []
    for index, (name, texts) in enumerate(items.items()):
        words = folded_words("\n".join(texts))
        for anchor in ngrams(words, FEWEST_WORDS):
            anchors.setdefault(anchor, set()).add(index)
        for run in ngrams(words, ngram_words):
            long_runs.setdefault(run, set()).add(index)
        known.append(Item(name, tuple(without_space(text) for text in texts if len(words_of(text)) >= FEWEST_WORDS)))
    return BenchmarkIndex(tuple(known), _frozen(anchors), _frozen(long_runs), ngram_words)


def _frozen(sets: Mapping[tuple[str, ...], set[int]]) -> dict[tuple[str, ...], frozenset[int]]:
    return {key: frozenset(value) for key, value in sets.items()}


def folded_words(text: str) -> list[str]:
    """Give a text's words in lower case."""
    return words_of(text.lower())


def without_space(text: str) -> str:
    """Give a text without white space, so that indentation and line ends do not matter."""
    return "".join(text.split())


def hits_in(text: str, index: BenchmarkIndex) -> list[Hit]:
    """Find the items of which the text holds an n-gram or a whole text, in the benchmark's order."""
    words = folded_words(text)
    if index.anchors.keys().isdisjoint(ngrams(words, FEWEST_WORDS)):
        return []
    shared: dict[int, set[tuple[str, ...]]] = {}
    for run in ngrams(words, index.ngram_words):
        for item in index.ngrams.get(run, ()):
            shared.setdefault(item, set()).add(run)
    suspects = {item for anchor in ngrams(words, FEWEST_WORDS) for item in index.anchors.get(anchor, ())}
    flat = without_space(text)
    exact = {item for item in suspects if any(pattern in flat for pattern in index.items[item].exact)}
    return [
        Hit(index.items[item].name, len(shared.get(item, ())), item in exact) for item in sorted(shared.keys() | exact)
    ]
