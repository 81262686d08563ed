"""One training sequence being filled with documents, and the labels that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from codellama_train.tokens.tokenizer import IdArray

IGNORED = -100  # the label of a position whose next token is not predicted; PyTorch's own default

Form = Literal["in order", "psm", "spm", "dialogue", "padding"]


class Origin(NamedTuple):
    """Where tokens come from: a source of the mixture, its document, and how often that has come before."""

    source: int
    document: int
    epoch: int


class Segment(NamedTuple):
    """The tokens of one document in a row, at `start` up to `stop`.

    They follow the first `offset` of the document's `length` tokens, BOS and EOS or EOT included, which are in earlier
    rows. Padding, which stands before a dialogue that waits for a row of its own, has length 0.
    """

    origin: Origin
    form: Form
    start: int
    stop: int
    offset: int
    length: int

    @property
    def is_whole(self) -> bool:
        """Tell whether no row's end has cut the document."""
        return self.stop - self.start == self.length

    @property
    def ends_document(self) -> bool:
        """Tell whether the document's last token is here."""
        return self.offset + self.stop - self.start == self.length


@dataclass(frozen=True)
class Row:
    """One training sequence. Arrays: (sequence_length,); the segments lie side by side and fill it."""

    input_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    segments: tuple[Segment, ...]

    @property
    def source(self) -> npt.NDArray[np.uint8]:
        """The number of each token's source in the mixture. Shape: (sequence_length,)."""
        return self._spread([segment.origin.source for segment in self.segments]).astype(np.uint8)

    @property
    def infilled(self) -> npt.NDArray[np.bool_]:
        """Whether each token's document is infilled. Shape: (sequence_length,)."""
        return self._spread([segment.form in ("psm", "spm") for segment in self.segments]).astype(np.bool_)

    @property
    def positions(self) -> npt.NDArray[np.int32]:
        """Positions that restart with every segment. Shape: (sequence_length,)."""
        starts = self._spread([segment.start for segment in self.segments])
        return (np.arange(len(self.input_ids)) - starts).astype(np.int32)

    def _spread(self, values: Sequence[int]) -> npt.NDArray[np.int64]:
        """Repeat a value per segment over its tokens."""
        return np.repeat(np.array(values, dtype=np.int64), [segment.stop - segment.start for segment in self.segments])


def empty_row(sequence_length: int, *, pad_id: int) -> Row:
    """Give a row without predicted tokens."""
    padding = Segment(Origin(source=0, document=0, epoch=0), "padding", 0, sequence_length, 0, 0)
    return Row(
        input_ids=np.full(sequence_length, pad_id, dtype=np.int64),
        labels=np.full(sequence_length, IGNORED, dtype=np.int64),
        segments=(padding,),
    )


class RowWriter:
    """A row being filled, with one more place for the token after it, which is the label of its last token.

    Every `add_` method writes what fits of a document and returns how many tokens of it are now in the row.
    """

    def __init__(self, sequence_length: int, *, bos_id: int, eos_id: int, are_documents_masked: bool) -> None:
        self._are_documents_masked = are_documents_masked
        self._bos_id, self._eos_id = bos_id, eos_id
        self._length = sequence_length
        self._tokens = np.empty(sequence_length + 1, dtype=np.int64)
        self._is_predicted = np.ones(sequence_length + 1, dtype=np.bool_)
        self._segments: list[Segment] = []
        self._position = 0

    @property
    def room(self) -> int:
        """Places left in the row."""
        return self._length - self._position

    def add_plain(self, origin: Origin, ids: IdArray, offset: int) -> int:
        """Add BOS + ids + EOS from its token `offset` on."""
        start, stop = offset, min(len(ids) + 2, offset + self.room + 1)
        part = self._tokens[self._position : self._position + stop - start]
        if start == 0:
            part[0] = self._bos_id
        part[max(1 - start, 0) : len(ids) + 1 - start] = ids[max(start - 1, 0) : stop - 1]
        if stop == len(ids) + 2:
            part[-1] = self._eos_id
        return self._advance(origin, "in order", offset=offset, length=len(ids) + 2)

    def add_infilled(self, origin: Origin, ids: IdArray, form: Literal["psm", "spm"]) -> int:
        """Add a transformed document, which fits."""
        assert len(ids) <= self.room, (len(ids), self.room)
        self._tokens[self._position : self._position + len(ids)] = ids
        return self._advance(origin, form, offset=0, length=len(ids))

    def add_dialogue(self, origin: Origin, ids: IdArray, predicted: npt.NDArray[np.bool_], offset: int) -> int:
        """Add a dialogue from its token `offset` on; the token after its end is not predicted."""
        stop = min(len(ids), offset + self.room + 1)
        places = slice(self._position, self._position + stop - offset)
        self._tokens[places] = ids[offset:stop]
        self._is_predicted[places] = predicted[offset:stop]
        return self._advance(origin, "dialogue", offset=offset, length=len(ids))

    def pad(self, origin: Origin) -> None:
        """Fill the rest of the row with tokens that are not predicted; `origin` is the dialogue that waits."""
        self._tokens[self._position : -1] = self._eos_id
        self._is_predicted[self._position :] = False
        self._segments.append(Segment(origin, "padding", self._position, self._length, 0, 0))
        self._position = self._length

    def finish(self, *, next_form: Form | None) -> Row:
        """Give the row. `next_form` is that of the document that starts after its end, None if the last one goes on."""
        if next_form is not None:
            self._tokens[-1] = self._bos_id  # known before the document is drawn
            self._is_predicted[-1] = self._predicts_beginning(next_form)
        return Row(
            input_ids=self._tokens[:-1],
            labels=np.where(self._is_predicted[1:], self._tokens[1:], IGNORED),
            segments=tuple(self._segments),
        )

    def _advance(self, origin: Origin, form: Form, *, offset: int, length: int) -> int:
        """Take note of what was written; a document's first token is predicted from the end of the one before."""
        if offset == 0:
            self._is_predicted[self._position] = self._predicts_beginning(form)
        added = min(length - offset, self.room)
        stop = self._position + added
        self._segments.append(Segment(origin, form, self._position, stop, offset, length))
        self._position = stop
        return added

    def _predicts_beginning(self, form: Form) -> bool:
        """Tell whether a document's BOS is learned here: not around dialogues, nor where documents are masked."""
        follows_dialogue = bool(self._segments) and self._segments[-1].form in ("dialogue", "padding")
        return not (self._are_documents_masked or form == "dialogue" or follows_dialogue)
