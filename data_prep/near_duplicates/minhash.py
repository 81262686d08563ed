"""MinHash signatures of texts, and their bands: what makes two texts candidates for being near-duplicates.

Daft's kernel is called on arrays directly. No query runs, so no engine's memory, threads or order of rows come into it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codellama_train import artifacts
from codellama_train.recipe.data_duplicates import Deduplication
from data_prep.near_duplicates.word_buffers import WordBuffers, word_buffers

Hashes = npt.NDArray[np.uint64]

SEED = 1  # of the permutations
HASH_FUNCTION = "murmurhash3"
QUIET = {"DAFT_ANALYTICS_ENABLED": "0", "DO_NOT_TRACK": "true", "DAFT_PROGRESS_BAR": "0"}
# Any text with more words than an n-gram would do: it shows when another version of the kernel hashes otherwise.
PROBE = "The same text must always have the same signature or an index of an earlier release finds nothing"
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio, made odd


def series(values: pa.Array) -> Any:
    """Give an array to Daft, which is asked first to send nothing home."""
    os.environ.update(QUIET)
    import daft

    return daft.Series.from_arrow(values)


def signatures(words: WordBuffers, rules: Deduplication) -> npt.NDArray[np.uint32]:
    """Give each text's signature (texts, permutations); only those with at least an n-gram of words mean anything."""
    column = series(words.spaced()).minhash(
        rules.permutations, rules.ngram_words, seed=SEED, hash_function=HASH_FUNCTION
    )
    values: npt.NDArray[np.uint32] = column.to_arrow().flatten().to_numpy()
    return values.reshape(-1, rules.permutations)


def band_hashes(signatures: npt.NDArray[np.uint32], rules: Deduplication) -> Hashes:
    """Hash each band of the signatures: (bands, texts)."""
    used = signatures[:, : rules.bands * rules.rows_per_band].astype(np.uint64)
    rows = used.reshape(-1, rules.bands, rules.rows_per_band)
    hashes = np.zeros(rows.shape[:2], dtype=np.uint64)
    for row in range(rules.rows_per_band):
        hashes = (hashes ^ rows[:, :, row]) * MULTIPLIER
        hashes ^= hashes >> np.uint64(32)
    return np.ascontiguousarray(hashes.T)


@dataclass(frozen=True)
class IndexVersion:
    """All that must agree before the band hashes of two releases may be compared."""

    permutations: int
    ngram_words: int
    bands: int
    rows_per_band: int
    seed: int
    hash_function: str
    probe: str  # what cutting, hashing and banding give for a fixed text


def index_version(rules: Deduplication) -> IndexVersion:
    """Give the version of the band hashes that a recipe's rules make with this code and this Daft."""
    probe = band_hashes(signatures(word_buffers(pa.array([PROBE])), rules), rules)
    return IndexVersion(
        permutations=rules.permutations,
        ngram_words=rules.ngram_words,
        bands=rules.bands,
        rows_per_band=rules.rows_per_band,
        seed=SEED,
        hash_function=HASH_FUNCTION,
        probe=artifacts.fingerprint(probe.ravel().tolist()),
    )
