"""One training sequence being filled with documents, and the labels that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IGNORED = -100  # the label of a position whose next token is not predicted; PyTorch's own default


@dataclass(frozen=True)
class Row:
    """One training sequence. All arrays: (sequence_length,); `source` and `infilled` describe the input token."""

    input_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    source: npt.NDArray[np.uint8]
    infilled: npt.NDArray[np.bool_]


def empty_row(sequence_length: int, *, pad_id: int) -> Row:
    """Give a row without predicted tokens."""
    return Row(
        input_ids=np.full(sequence_length, pad_id, dtype=np.int64),
        labels=np.full(sequence_length, IGNORED, dtype=np.int64),
        source=np.zeros(sequence_length, dtype=np.uint8),
        infilled=np.zeros(sequence_length, dtype=np.bool_),
    )


class RowWriter:
    """A row being filled, with one more place for the token after it, which is the label of its last token.

    Every `add_` method writes what fits of a document and returns how many tokens of it are now in the row.
    """

    def __init__(self, sequence_length: int, *, bos_id: int, eos_id: int) -> None:
        self._bos_id, self._eos_id = bos_id, eos_id
        self._length = sequence_length
        self._tokens = np.empty(sequence_length + 1, dtype=np.int64)
        self._is_predicted = np.ones(sequence_length + 1, dtype=np.bool_)
        self._source = np.empty(sequence_length, dtype=np.uint8)
        self._infilled = np.zeros(sequence_length, dtype=np.bool_)
        self._position = 0
        self._follows_dialogue = False

    @property
    def room(self) -> int:
        """Places left in the row."""
        return self._length - self._position

    def add_plain(self, source: int, ids: npt.NDArray[Any], offset: int) -> int:
        """Add BOS + ids + EOS from its token `offset` on."""
        start, stop = offset, min(len(ids) + 2, offset + self.room + 1)
        part = self._part(start, stop)
        if start == 0:
            part[0] = self._bos_id
        part[max(1 - start, 0) : len(ids) + 1 - start] = ids[max(start - 1, 0) : stop - 1]
        if stop == len(ids) + 2:
            part[-1] = self._eos_id
        return self._advance(source, len(part))

    def add_infilled(self, source: int, ids: Sequence[int]) -> int:
        """Add a transformed document, which fits."""
        assert len(ids) <= self.room, (len(ids), self.room)
        self._part(0, len(ids))[:] = ids
        self._infilled[self._position : self._position + len(ids)] = True
        return self._advance(source, len(ids))

    def add_dialogue(self, source: int, ids: npt.NDArray[Any], predicted: npt.NDArray[np.bool_], offset: int) -> int:
        """Add a dialogue from its token `offset` on; the token after its end is not predicted."""
        stop = min(len(ids), offset + self.room + 1)
        self._part(offset, stop)[:] = ids[offset:stop]
        self._is_predicted[self._position : self._position + stop - offset] = predicted[offset:stop]
        added = self._advance(source, stop - offset)
        self._follows_dialogue = True
        return added

    def pad(self, source: int) -> None:
        """Fill the rest of the row with tokens that are not predicted."""
        self._tokens[self._position : -1] = self._eos_id
        self._is_predicted[self._position :] = False
        self._source[self._position :] = source
        self._position = self._length

    def finish(self) -> Row:
        """Give the row whose last document goes on in the next one."""
        return Row(
            input_ids=self._tokens[:-1],
            labels=np.where(self._is_predicted[1:], self._tokens[1:], IGNORED),
            source=self._source,
            infilled=self._infilled,
        )

    def finish_before(self, *, starts_dialogue: bool) -> Row:
        """Give the row after whose end another document starts: its first token is known before it is drawn."""
        self._tokens[-1] = self._bos_id
        self._is_predicted[-1] = not (starts_dialogue or self._follows_dialogue)
        return self.finish()

    def _part(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Give the places that tokens `start` to `stop` of a document take."""
        if start == 0 and self._follows_dialogue:
            self._is_predicted[self._position] = False
        self._follows_dialogue = False
        return self._tokens[self._position : self._position + stop - start]

    def _advance(self, source: int, num_written: int) -> int:
        added = min(num_written, self.room)
        self._source[self._position : self._position + added] = source
        self._position += added
        return added
