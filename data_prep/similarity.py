"""Verified similarity: exact Jaccard over word n-grams of candidate pairs, and what follows from the verified ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from data_prep.words import ngrams, words_of

# A bucket's pairs grow with the square of its size. In a larger one every member is compared with the bucket's first
# members by rank only, which are the ones that would be kept.
FULLY_COMPARED = 64


@dataclass(frozen=True)
class SimilarPair:
    """Two documents, by index, and the exact Jaccard similarity of their n-gram sets."""

    first: int
    second: int
    similarity: float


def candidate_pairs(buckets: Iterable[Sequence[int]], rank: Sequence[int]) -> list[tuple[int, int]]:
    """Give the distinct pairs of documents that share a bucket; of two, the one with the smaller rank would be kept."""
    pairs: set[tuple[int, int]] = set()
    for bucket in buckets:
        members = sorted(bucket, key=lambda index: rank[index])
        head = members[:FULLY_COMPARED]
        pairs.update(_ordered(a, b) for a, b in combinations(head, 2))
        pairs.update(_ordered(a, b) for a in head for b in members[FULLY_COMPARED:])
    return sorted(pairs)


def _ordered(first: int, second: int) -> tuple[int, int]:
    return (first, second) if first < second else (second, first)


def jaccard(first: frozenset[tuple[str, ...]], second: frozenset[tuple[str, ...]]) -> float:
    """Give the share of the two sets' n-grams that they have in common."""
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def shingles(text: str, ngram_words: int) -> frozenset[tuple[str, ...]]:
    """Give the set of a text's word n-grams."""
    return frozenset(ngrams(words_of(text), ngram_words))


def verified(
    pairs: Iterable[tuple[int, int]], texts: Mapping[int, str], *, ngram_words: int, similarity: float
) -> Iterator[SimilarPair]:
    """Give the pairs that reach the similarity; each text's shingles are made once."""
    sets: dict[int, frozenset[tuple[str, ...]]] = {}
    for first, second in pairs:
        for index in (first, second):
            if index not in sets:
                sets[index] = shingles(texts[index], ngram_words)
        value = jaccard(sets[first], sets[second])
        if value >= similarity:
            yield SimilarPair(first, second, value)


def components(pairs: Iterable[SimilarPair]) -> dict[int, int]:
    """Give for every document of a pair the smallest index that chains of pairs lead to."""
    parent: dict[int, int] = {}

    def root_of(index: int) -> int:
        while parent.setdefault(index, index) != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for pair in pairs:
        low, high = sorted((root_of(pair.first), root_of(pair.second)))
        parent[high] = low
    return {index: root_of(index) for index in sorted(parent)}


def kept_copies(pairs: Iterable[SimilarPair], rank: Sequence[int]) -> dict[int, SimilarPair]:
    """Give for every dropped document the pair that leads to its most similar kept copy.

    Documents are visited in rank order; one is dropped only if a verified near copy of it is already kept. So no two
    kept documents form a verified pair, and no dropped one is without a kept copy.
    """
    neighbours: dict[int, list[SimilarPair]] = {}
    for pair in pairs:
        neighbours.setdefault(pair.first, []).append(pair)
        neighbours.setdefault(pair.second, []).append(pair)
    dropped: dict[int, SimilarPair] = {}
    for index in sorted(neighbours, key=lambda index: rank[index]):
        better = [pair for pair in neighbours[index] if rank[other(pair, index)] < rank[index]]
        copies = [pair for pair in better if other(pair, index) not in dropped]
        if copies:
            dropped[index] = max(copies, key=lambda pair: (pair.similarity, -rank[other(pair, index)]))
    return dropped


def other(pair: SimilarPair, index: int) -> int:
    """Give the other document of a pair."""
    return pair.second if pair.first == index else pair.first
