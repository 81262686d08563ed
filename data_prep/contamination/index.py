"""All benchmarks of a recipe as one index: what to look for in documents, by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from codellama_train.recipe.data_benchmarks import Decontamination
from data_prep.contamination.hash_sets import HashSet, Owners, hash_set, owners_of
from data_prep.contamination.items import MOST_ITEMS, Item
from data_prep.contamination.joined_texts import Places, Words, batches, join_texts
from data_prep.contamination.patterns import Pattern, first_windows, patterns_of
from data_prep.contamination.renamed_index import RenamedIndex, renamed_index
from data_prep.contamination.words import ngrams_of


@dataclass(frozen=True)
class BenchmarkIndex:
    """What to look for: n-grams by their items, strings of letters, and solutions under other names."""

    rules: Decontamination
    items: tuple[Item, ...]
    ngrams: HashSet
    ngram_items: Owners
    patterns: tuple[Pattern, ...]
    windows: HashSet  # the first letters of every pattern
    window_patterns: Owners
    renamed: RenamedIndex


def build_index(items: Sequence[Item], rules: Decontamination, sample: Sequence[bytes] = ()) -> BenchmarkIndex:
    """Index the items, those of a benchmark together; `sample`, text like that searched, only makes it faster."""
    values, numbers, patterns = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], list[Pattern]()
    for first, of_benchmark in _by_benchmark(items):
        own, owners = _own_ngrams(of_benchmark, rules.ngram_words)
        values.append(own)
        numbers.append(owners + first)
        patterns += patterns_of(of_benchmark, first, rules.substring_characters)
    ngrams = hash_set(np.concatenate(values))
    firsts = first_windows([pattern.letters for pattern in patterns])
    windows = hash_set(firsts)
    return BenchmarkIndex(
        rules,
        tuple(items),
        ngrams,
        owners_of(ngrams, np.concatenate(values), np.concatenate(numbers)),
        tuple(patterns),
        windows,
        owners_of(windows, firsts, np.arange(len(patterns))),
        renamed_index(items, rules.near_similarity, sample),
    )


def _by_benchmark(items: Sequence[Item]) -> Iterator[tuple[int, list[Item]]]:
    first = 0
    for _, group in groupby(items, key=lambda item: item.benchmark):
        of_benchmark = list(group)
        yield first, of_benchmark
        first += len(of_benchmark)


def _own_ngrams(items: Sequence[Item], length: int) -> tuple[Words, Places]:
    """Give the n-grams of one benchmark's items, and whose they are, but not what too many items share."""
    values, numbers = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for first, batch in batches([item.whole.encode() for item in items]):
        found = ngrams_of(join_texts(batch), length)
        places = found.telling()
        values.append(found.hashes[places])
        numbers.append(found.owners[places] + first)
    return _not_common(np.concatenate(values), np.concatenate(numbers))


def _not_common(values: Words, numbers: Places) -> tuple[Words, Places]:
    """Leave out the values of more than MOST_ITEMS numbers; `numbers` ascend."""
    order = np.argsort(values, kind="stable")
    values, numbers = values[order], numbers[order]
    is_new = np.ones(len(values), bool)
    is_new[1:] = values[1:] != values[:-1]
    is_new_item = is_new.copy()
    is_new_item[1:] |= numbers[1:] != numbers[:-1]
    group = np.cumsum(is_new) - 1
    is_own = (np.bincount(group, weights=is_new_item) <= MOST_ITEMS)[group] if len(values) else is_new
    return values[is_own], numbers[is_own]
