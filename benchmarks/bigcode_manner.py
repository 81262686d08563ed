"""BigCode's MinHash signatures, as its published script for near-deduplication makes them, with NumPy.

After bigcode-dataset's near_deduplication/minhash_deduplication.py: SHA-1 cut to 32 bits, affine permutations modulo
the Mersenne prime 2**61 - 1, word 5-grams.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from itertools import tee

import numpy as np
import numpy.typing as npt

NON_ALPHA = re.compile("[^A-Za-z_0-9]")
MAX_HASH = np.uint64((1 << 32) - 1)
MERSENNE_PRIME = np.uint64((1 << 61) - 1)
SEED = 42


def permutations_of(count: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Draw the permutations."""
    rng = np.random.RandomState(SEED)
    pairs = [
        (rng.randint(1, MERSENNE_PRIME, dtype=np.uint64), rng.randint(0, MERSENNE_PRIME, dtype=np.uint64))
        for _ in range(count)
    ]
    a, b = np.array(pairs, dtype=np.uint64).T
    return a, b


def sha1_hash32(data: bytes) -> int:
    """Hash to 32 bits."""
    return int(struct.unpack("<I", hashlib.sha1(data).digest()[:4])[0])  # noqa: S324 - as published


def ngrams(sequence: Sequence[str], length: int, fewest: int = 5) -> Iterator[tuple[str, ...]]:
    """Give the n-grams."""
    if len(sequence) < fewest:
        return iter(())
    iterables = tee(sequence, length)
    for place, each in enumerate(iterables):
        for _ in range(place):
            next(each, None)
    return zip(*iterables, strict=False)


def bands_of(
    text: str,
    permutations: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]],
    ranges: Sequence[tuple[int, int]],
    length: int = 5,
) -> list[bytes]:
    """Give a text's bands."""
    a, b = permutations
    tokens = {" ".join(each) for each in ngrams(NON_ALPHA.split(text), length)}
    hashes = np.array([sha1_hash32(token.encode("utf-8")) for token in tokens], dtype=np.uint64)
    permuted = np.bitwise_and(((hashes * np.tile(a, (len(hashes), 1)).T).T + b) % MERSENNE_PRIME, MAX_HASH)
    smallest = np.vstack([permuted, np.ones(len(a), dtype=np.uint64) * MAX_HASH]).min(axis=0)
    return [bytes(smallest[start:end].byteswap().data) for start, end in ranges]
