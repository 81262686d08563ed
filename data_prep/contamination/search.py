"""What documents share with benchmarks: hashes say where to look, and the look itself compares the texts.

So the result is that of comparing every document with every item, at a cost that hardly depends on their number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from data_prep.contamination.index import BenchmarkIndex
from data_prep.contamination.items import LAYERS, LOWER, WORD, without_space
from data_prep.contamination.joined_texts import JoinedTexts, batches, join_texts
from data_prep.contamination.renamed_search import renamed_copies
from data_prep.contamination.words import ngrams_of, windows_of

EXCERPT_BYTES = 200
EXACT, NGRAM, SUBSTRING, RENAMED = LAYERS


@dataclass(frozen=True)
class Hit:
    """What one document shares with one item in one layer.

    `value` counts whole texts, distinct n-grams or sampled substrings; of the layer "renamed" it is the similarity.
    """

    document: int
    item: int
    layer: str
    value: float
    excerpt: str


def hits_in(texts: Sequence[bytes], index: BenchmarkIndex) -> list[Hit]:
    """Give every hit of every text, by text, item and layer."""
    hits = [
        Hit(first + hit.document, hit.item, hit.layer, hit.value, hit.excerpt)
        for first, batch in batches(texts)
        for hit in _hits_in_batch(join_texts(batch), index)
    ]
    return sorted(hits, key=lambda hit: (hit.document, hit.item, LAYERS.index(hit.layer)))


def _hits_in_batch(texts: JoinedTexts, index: BenchmarkIndex) -> Iterator[Hit]:
    yield from _ngram_hits(texts, index)
    yield from _pattern_hits(texts, index)
    yield from _renamed_hits(texts, index)


def _ngram_hits(texts: JoinedTexts, index: BenchmarkIndex) -> Iterator[Hit]:
    found = ngrams_of(texts, index.rules.ngram_words)
    places, slots = index.ngrams.find(found.hashes)
    which, items = index.ngram_items.of(slots)
    documents = found.owners[places]
    candidates: dict[int, dict[int, list[int]]] = {}
    for hit, item in zip(which.tolist(), items.tolist(), strict=True):
        candidates.setdefault(int(documents[hit]), {}).setdefault(item, []).append(int(places[hit]))
    for document, places_of in candidates.items():
        words = list(WORD.finditer(texts.text(document)))
        first = int(np.searchsorted(found.owners, document))
        for item, at in places_of.items():
            yield from _shared_ngrams(words, document, item, [place - first for place in at], index)


def _shared_ngrams(
    words: Sequence[re.Match[bytes]], document: int, item: int, places: Sequence[int], index: BenchmarkIndex
) -> Iterator[Hit]:
    """Compare the words themselves; a run that goes on into the next document is none."""
    length = index.rules.ngram_words
    known = _ngrams_of_text(index.items[item].whole, length)
    shared: dict[tuple[bytes, ...], int] = {}
    for place in places:
        run = tuple(word[0].translate(LOWER) for word in words[place : place + length])
        if run in known:
            shared.setdefault(run, place)
    if shared:
        first = min(shared.values())
        excerpt = words[0].string[words[first].start() : words[first + length - 1].end()]
        yield Hit(document, item, NGRAM, len(shared), _shown(excerpt))


@lru_cache(maxsize=1024)
def _ngrams_of_text(text: str, length: int) -> frozenset[tuple[bytes, ...]]:
    words = WORD.findall(text.encode().translate(LOWER))
    return frozenset(zip(*(words[start:] for start in range(length)), strict=False))


def _pattern_hits(texts: JoinedTexts, index: BenchmarkIndex) -> Iterator[Hit]:
    windows = windows_of(texts)
    places, slots = index.windows.find(windows.hashes)
    owners = windows.owners(places)
    which, patterns = index.window_patterns.of(slots)
    found: dict[tuple[int, int, str], set[int]] = {}
    flat: dict[int, bytes] = {}
    for hit, number in zip(which.tolist(), patterns.tolist(), strict=True):
        pattern, place, document = index.patterns[number], int(places[hit]), int(owners[hit])
        if not windows.letters.startswith(pattern.letters, place):
            continue
        if pattern.exact is not None:
            if document not in flat:
                flat[document] = without_space(texts.text(document))
            if pattern.exact not in flat[document]:
                continue
        found.setdefault((document, pattern.item, SUBSTRING if pattern.exact is None else EXACT), set()).add(number)
    for (document, item, layer), numbers in found.items():
        first = index.patterns[min(numbers)]
        yield Hit(document, item, layer, len(numbers), _shown(first.letters if first.exact is None else first.exact))


def _renamed_hits(texts: JoinedTexts, index: BenchmarkIndex) -> Iterator[Hit]:
    best: dict[tuple[int, int], Hit] = {}
    for copy in renamed_copies(texts, index.renamed):
        item = int(index.renamed.items[copy.solution])
        known = best.get((copy.text, item))
        if known is None or copy.similarity > known.value:
            excerpt = _shown(texts.data[copy.first_place : copy.last_place])
            best[copy.text, item] = Hit(copy.text, item, RENAMED, copy.similarity, excerpt)
    yield from best.values()


def _shown(excerpt: bytes) -> str:
    return excerpt[:EXCERPT_BYTES].decode(errors="replace")
