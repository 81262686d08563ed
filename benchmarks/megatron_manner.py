"""Infilling and packing as Megatron-LM's and BigCode's fill-in-the-middle data sets do it, for comparison.

Documents are joined by an end-of-document token and the stream is chopped into windows. Then every piece between two
such tokens, cut or not, is with some chance decoded, cut at two characters, its three parts encoded, and the window cut
or padded back to its length. Written anew from `megatron/training/datasets/fim_dataset.py`, without its checks and with
cheaper draws, so that nothing but the manner is slow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from corpus import lengths_of

from codellama_train.tokens.shards import ShardSet
from codellama_train.tokens.tokenizer import IdArray, Sentinels


@dataclass(frozen=True)
class PlainTokenizer:
    """What this manner needs: a library's own functions, with nothing of ours around them."""

    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    sentinels: Sentinels
    eod_id: int


class Window(NamedTuple):
    """A training sequence and one token more, and how many of its tokens are of infilled pieces."""

    input_ids: npt.NDArray[np.int64]
    num_infilled: int


class MegatronManner:
    """The windows of a shard set in a random order of documents."""

    def __init__(
        self, tokenizer: PlainTokenizer, shards: ShardSet, *, sequence_length: int, rate: float, seed: int
    ) -> None:
        self._tokenizer, self._shards, self._length = tokenizer, shards, sequence_length
        self._rate = rate
        self._random = np.random.default_rng(seed)
        self._order = self._random.permutation(shards.num_documents)
        self._ends = (lengths_of(shards)[self._order] + 1).cumsum()  # each with its end-of-document token
        self._eod = np.array([tokenizer.eod_id], dtype=np.int64)
        self._next = 0

    def next_window(self) -> Window:
        """Give the next window, infilled."""
        if self._next + self._length >= self._ends[-1]:
            self._next = 0
        plain = self._chop(self._next, self._next + self._length + 1)
        self._next += self._length
        parts: list[IdArray] = []
        filled: list[bool] = []
        start = 0
        for stop in [*np.flatnonzero(plain == self._eod[0]).tolist(), len(plain)]:
            if stop > start:
                is_infilled = self._random.random() < self._rate
                parts.append(self.infilled(plain[start:stop]) if is_infilled else plain[start:stop])
                filled.append(is_infilled)
            if stop < len(plain):
                parts.append(self._eod)
                filled.append(False)
            start = stop + 1
        return self._fitted(parts, filled)

    def infilled(self, ids: IdArray) -> IdArray:
        """Transform a piece: the three parts are ordinary texts, encoded one by one."""
        encode, sentinels = self._tokenizer.encode, self._tokenizer.sentinels
        text = self._tokenizer.decode(ids.tolist())
        first, second = sorted(self._random.integers(0, len(text) + 1, size=2).tolist())
        prefix, middle, suffix = encode(text[:first]), encode(text[first:second]), encode(text[second:])
        if self._random.random() < 0.5:
            return np.array([sentinels.prefix, sentinels.suffix, *suffix, sentinels.middle, *prefix, *middle])
        return np.array([sentinels.prefix, *prefix, sentinels.suffix, *suffix, sentinels.middle, *middle])

    def _chop(self, start: int, stop: int) -> IdArray:
        """Read the stream from one place to another."""
        first = int(self._ends.searchsorted(start, side="right"))
        last = int(self._ends.searchsorted(stop, side="left"))
        parts: list[IdArray] = []
        for place in range(first, min(last, len(self._order) - 1) + 1):
            parts += (self._shards.ids(int(self._order[place])), self._eod)
        begin = int(self._ends[first - 1]) if first else 0
        return np.concatenate(parts)[start - begin : stop - begin]

    def _fitted(self, parts: list[IdArray], filled: list[bool]) -> Window:
        """Cut or pad the parts to the window."""
        ids, room = np.concatenate(parts), self._length + 1
        num_infilled = 0
        for part, is_infilled in zip(parts, filled, strict=True):
            num_infilled += min(len(part), max(room, 0)) if is_infilled else 0
            room -= len(part)
        if room > 0:
            ids = np.concatenate((ids, np.repeat(self._eod, room)))
        return Window(ids[: self._length + 1], num_infilled)
