"""The word n-grams ("shingles") of many texts as sets of 64-bit hashes, and their exact Jaccard similarity.

Two different n-grams of a pair of texts share a hash once in 10**13 pairs of a thousand n-grams each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.near_duplicates.minhash import MULTIPLIER, Hashes, series
from data_prep.near_duplicates.word_buffers import Offsets, WordBuffers

BITS = 4096  # of a set's bitmap: tells sets of up to some two thousand n-grams apart
Similarities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ShingleSets:
    """The set of text t is `hashes[offsets[t]:offsets[t + 1]]`, sorted, each hash once."""

    hashes: Hashes
    offsets: Offsets


def shingle_sets(words: WordBuffers, ngram_words: int) -> ShingleSets:
    """Hash every run of `ngram_words` words of each text."""
    hashes, offsets = _all_shingles(words, ngram_words)
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        hashes[start:end].sort()
    is_new = np.ones(len(hashes) + 1, dtype=bool)
    is_new[1:-1] = hashes[1:] != hashes[:-1]
    is_new[offsets] = True
    is_new = is_new[:-1]
    counts = np.concatenate(([0], np.cumsum(is_new)))
    return ShingleSets(hashes[is_new], counts[offsets])


def _all_shingles(words: WordBuffers, ngram_words: int) -> tuple[Hashes, Offsets]:
    """Give the hashes of all runs in order, and where each text's begin."""
    word_hashes = series(words.words()).hash().to_arrow().to_numpy()
    num_runs = max(len(word_hashes) - ngram_words + 1, 0)
    hashes = np.zeros(num_runs, dtype=np.uint64)
    for place in range(ngram_words):  # each step can be undone, so unequal words never meet but by chance
        hashes = (hashes ^ word_hashes[place : place + num_runs]) * MULTIPLIER
        hashes ^= hashes >> np.uint64(32)
    is_inside = np.ones(num_runs + ngram_words, dtype=bool)  # a run that begins too near a text's end is in two texts
    for distance in range(1, ngram_words):
        ends = words.text_offsets[1:] - distance
        is_inside[ends[ends >= 0]] = False
    counts = np.maximum(words.num_words - ngram_words + 1, 0)
    return hashes[is_inside[:num_runs]], np.concatenate(([0], np.cumsum(counts)))


def bitmaps(sets: ShingleSets) -> Hashes:
    """Give each set as BITS bits, one for every hash in it: (texts, words of 64 bits)."""
    words = np.zeros((len(sets.offsets) - 1, BITS // 64), dtype=np.uint64)
    text = np.repeat(np.arange(len(words)), np.diff(sets.offsets))
    bit = sets.hashes % np.uint64(BITS)
    place = text * (BITS // 64) + (bit // np.uint64(64)).astype(np.int64)
    np.bitwise_or.at(words.reshape(-1), place, np.uint64(1) << bit % np.uint64(64))
    return words


def most_similar(first: Hashes, second: Hashes, first_sizes: Offsets, second_sizes: Offsets) -> Similarities:
    """Give what the Jaccard similarity of pairs of sets cannot exceed, from their bitmaps and sizes.

    A bit that only one set has stands for at least one n-gram that the other lacks.
    """
    only_first = np.bitwise_count(first & ~second).sum(axis=1, dtype=np.int64)
    only_second = np.bitwise_count(second & ~first).sum(axis=1, dtype=np.int64)
    most_shared = np.minimum(first_sizes - only_first, second_sizes - only_second)
    bound: Similarities = most_shared / np.maximum(first_sizes + second_sizes - most_shared, 1)
    return bound


def shared(first: Hashes, second: Hashes) -> int:
    """Count the n-grams that two sets have in common."""
    both = np.concatenate((first, second))
    both.sort()
    return int(np.count_nonzero(both[1:] == both[:-1]))


def jaccard(first: Hashes, second: Hashes) -> float:
    """Give the share of the two sets' n-grams that they have in common."""
    in_common = shared(first, second)
    return in_common / max(len(first) + len(second) - in_common, 1)
