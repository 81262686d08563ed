"""What was found, by benchmark and item: the manifest's account, and the list of clean and dirty items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_prep.contamination.index import BenchmarkIndex
from data_prep.contamination.items import LAYERS, MOST_ITEMS

ItemKey = tuple[str, str]


@dataclass
class Account:
    """Counts of documents: by item, by item and layer, and of a benchmark's all."""

    documents: Counter[ItemKey] = field(default_factory=Counter)
    by_layer: dict[ItemKey, Counter[str]] = field(default_factory=dict)
    of_benchmark: Counter[str] = field(default_factory=Counter)

    def add(self, hits: list[dict[str, Any]]) -> None:
        """Count all the hits of one document."""
        items = {(hit["benchmark"], hit["item"]) for hit in hits}
        self.documents.update(items)
        self.of_benchmark.update({benchmark for benchmark, _ in items})
        for hit in hits:
            self.by_layer.setdefault((hit["benchmark"], hit["item"]), Counter())[hit["layer"]] += 1


def facts_of(account: Account, index: BenchmarkIndex) -> dict[str, Any]:
    """Give for every benchmark how many items were looked for and found, in which layer, and in which documents."""
    searched = searched_layers(index)
    layers = {(item.benchmark, item.name): LAYERS if item.solutions else LAYERS[:-1] for item in index.items}
    facts: dict[str, Any] = {}
    for benchmark, names in _by_benchmark(index):
        hit = {name: account.documents[benchmark, name] for name in names if account.documents[benchmark, name]}
        facts[benchmark] = {
            "items": len(names),
            "items_hit": len(hit),
            "documents": account.of_benchmark[benchmark],
            "items_hit_by_layer": {
                layer: sum(layer in account.by_layer[benchmark, name] for name in hit) for layer in LAYERS
            },
            "items_too_short": {  # a benchmark's items without a solution are none for "renamed"
                layer: sum(layer not in searched[benchmark, name] for name in names if layer in layers[benchmark, name])
                for layer in LAYERS
            },
            "items_too_short_for_all": sum(not searched[benchmark, name] for name in names),
            "items_in_many_documents": sum(count > MOST_ITEMS for count in hit.values()),
            "documents_by_item": dict(sorted(hit.items())),
        }
    return facts


def items_of(account: Account, index: BenchmarkIndex) -> dict[str, Any]:
    """Sort every benchmark's items: clean, dirty with the layers that found them, or too short to be looked for."""
    searched = searched_layers(index)
    return {
        benchmark: {
            "clean": [name for name in names if searched[benchmark, name] and not account.documents[benchmark, name]],
            "dirty": {
                name: [layer for layer in LAYERS if layer in account.by_layer[benchmark, name]]
                for name in names
                if account.documents[benchmark, name]
            },
            "too_short": [name for name in names if not searched[benchmark, name]],
        }
        for benchmark, names in _by_benchmark(index)
    }


def searched_layers(index: BenchmarkIndex) -> Mapping[ItemKey, set[str]]:
    """Tell for every item in which layers it says enough to be looked for."""
    exact, ngram, substring, renamed = LAYERS
    found: dict[str, set[int]] = {
        exact: {pattern.item for pattern in index.patterns if pattern.exact is not None},
        ngram: set(np.unique(index.ngram_items.numbers).tolist()),
        substring: {pattern.item for pattern in index.patterns if pattern.exact is None},
        renamed: set(index.renamed.items.tolist()),
    }
    return {
        (item.benchmark, item.name): {layer for layer in LAYERS if number in found[layer]}
        for number, item in enumerate(index.items)
    }


def _by_benchmark(index: BenchmarkIndex) -> Iterator[tuple[str, list[str]]]:
    names: dict[str, list[str]] = {}
    for item in index.items:
        names.setdefault(item.benchmark, []).append(item.name)
    yield from names.items()
