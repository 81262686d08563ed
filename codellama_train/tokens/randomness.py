"""Counter-based randomness: what is drawn for a document depends on the document, the epoch and the seed alone.

So the order of work, the number of ranks and restarts never change a draw, and each stream (whether to infill, in which
format, where to cut) is independent of the others.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Literal, NamedTuple

Stream = Literal["rate", "format", "cuts"]


class RandomKey(NamedTuple):
    """Names the draws of one document in one epoch."""

    seed: int
    document_id: bytes
    epoch: int


def random_words(key: RandomKey, stream: Stream) -> tuple[int, int]:
    """Give two independent uniform integers of 64 bits for one stream of a document."""
    digest = blake2b(
        key.document_id, digest_size=16, key=f"{key.seed}:{key.epoch}".encode(), person=stream.encode()
    ).digest()
    first, second = struct.unpack("<QQ", digest)
    return first, second


def as_fraction(word: int) -> float:
    """Turn 64 random bits into a uniform number, at least 0 and below 1."""
    return (word >> 11) * 2.0**-53


def as_integer(word: int, limit: int) -> int:
    """Turn 64 random bits into a uniform integer, at least 0 and below `limit`; the bias is below limit / 2**64."""
    return (word * limit) >> 64
