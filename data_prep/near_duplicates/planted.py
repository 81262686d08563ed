"""The recall of candidate search, measured: copies of real documents with lines or words replaced, found or not.

The banding of MinHash finds a pair of Jaccard similarity s with the chance 1 - (1 - s**rows) ** bands. Whether it does
is measured in every run, on documents of that run, by the functions that the search itself uses.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codellama_train.recipe.data_duplicates import Deduplication
from data_prep.near_duplicates.minhash import band_hashes, signatures
from data_prep.near_duplicates.shingles import jaccard, shingle_sets
from data_prep.near_duplicates.word_buffers import word_buffers

SAMPLES = 256  # documents that copies are planted of
MOST_LINES_REPLACED, MOST_WORDS_REPLACED = 0.40, 0.10  # a word takes five n-grams with it, most of a line's are its own
COPIES = 2  # of each kind
BIN = 0.05


@dataclass(frozen=True)
class Planted:
    """A planted pair: its exact similarity, and whether it has a band in common."""

    similarity: float
    is_found: bool


def altered(text: str, rng: random.Random, *, separator: str, most: float) -> str:
    """Replace a share of a text's lines or words, drawn between nothing and `most`, by new ones."""
    pieces = text.split(separator)
    share = rng.uniform(0.0, most)
    replaced = rng.sample(range(len(pieces)), round(share * len(pieces)))
    for place in replaced:
        pieces[place] = " ".join(f"new{rng.getrandbits(32):08x}" for _ in range(max(1, len(pieces[place].split()))))
    return separator.join(pieces)


def plant(identity: str, text: str) -> list[str]:
    """Give a document's copies; the same document always has the same."""
    rng = random.Random(identity)
    kinds = (("\n", MOST_LINES_REPLACED), (" ", MOST_WORDS_REPLACED))
    return [altered(text, rng, separator=separator, most=most) for separator, most in kinds for _ in range(COPIES)]


def search_planted(samples: Sequence[tuple[str, str]], rules: Deduplication) -> list[Planted]:
    """Plant copies of documents, given as id and text, and search for them."""
    texts: list[str] = []
    pairs: list[tuple[int, int]] = []
    for identity, text in samples:
        original = len(texts)
        texts += [text, *plant(identity, text)]
        pairs += [(original, copy) for copy in range(original + 1, len(texts))]
    words = word_buffers(pa.array(texts, pa.large_string()))
    bands = band_hashes(signatures(words, rules), rules)
    sets = shingle_sets(words, rules.ngram_words)
    of = [sets.hashes[start:end] for start, end in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)]
    return [Planted(jaccard(of[a], of[b]), bool((bands[:, a] == bands[:, b]).any())) for a, b in pairs]


def chance_of_a_shared_band(similarity: npt.NDArray[np.float64], rules: Deduplication) -> npt.NDArray[np.float64]:
    """Give the chance that two documents of that similarity agree in at least one band."""
    chances: npt.NDArray[np.float64] = 1 - (1 - similarity**rules.rows_per_band) ** rules.bands
    return chances


def recall_account(planted: Sequence[Planted], rules: Deduplication) -> dict[str, Any]:
    """Compare what was found with what is expected: over all pairs that should be, and by similarity."""
    similarity = np.array([pair.similarity for pair in planted])
    is_found = np.array([pair.is_found for pair in planted], dtype=bool)
    expected = chance_of_a_shared_band(similarity, rules)
    places = np.minimum((similarity / BIN + 1e-9).astype(np.int64), round(1 / BIN) - 1)
    bins = []
    for place in np.unique(places):
        own = places == place
        border = {"from": round(place * BIN, 2), "to": round((place + 1) * BIN, 2)}
        bins.append(border | _counts(is_found[own], expected[own]))
    above = similarity >= rules.similarity
    return {"at_or_above_similarity": _counts(is_found[above], expected[above]), "by_similarity": bins}


def _counts(is_found: npt.NDArray[np.bool_], expected: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {"pairs": len(is_found), "found": int(is_found.sum()), "expected": round(float(expected.sum()), 2)}
