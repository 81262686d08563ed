"""Parts of a document from the ids it is stored as: only the words that a cut goes through are encoded anew.

A word is a run of spaces and what follows up to the next space. If no piece of a SentencePiece BPE model goes on past
the end of a word, as in Llama's models, no merge does either, and a text's ids are its words' ids one after another.
So the ids of a part are those stored, but for the words at its two ends: the same ids that encoding the part's text
gives, for a fraction of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from codellama_train.tokens.tokenizer import IdArray

SPACE = "▁"
NORMAL, BYTE, BPE = 1, 6, 2  # SentencePiece's piece types, and its model type
CONTINUATION_BYTES = range(0x80, 0xC0)  # of a UTF-8 character's bytes, only the first counts as a character


@dataclass(frozen=True)
class WordTables:
    """What each id adds to a text, by id: its code points, and whether it begins or ends with a space."""

    characters: npt.NDArray[np.int32]
    begins_with_space: npt.NDArray[np.bool_]
    ends_with_space: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class WordEncoder:
    """A tokenizer whose words are independent, taken apart into what `WordwiseText` needs."""

    tables: WordTables
    encode: Callable[[str], list[int]]
    encode_infilling: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    decode_infilling: Callable[[list[int]], str]


class WordwiseText:
    """The text behind stored ids, known by the places of its words; see `DocumentText`."""

    def __init__(self, encoder: WordEncoder, ids: IdArray) -> None:
        self._encoder, self._ids = encoder, ids
        tables = encoder.tables
        ends = tables.characters[ids].cumsum()
        self.num_characters = int(ends[-1]) - 1 if len(ids) else 0  # less the implicit leading space
        self._tokens = np.flatnonzero(tables.begins_with_space[ids[1:]] & ~tables.ends_with_space[ids[:-1]]) + 1
        self._places = ends[self._tokens - 1] - 1

    def encode_up_to(self, stop: int) -> IdArray:
        """Encode text[:stop] as `Tokenizer.encode` does."""
        word = self._last_word_at(stop)
        if word < 0:
            return as_ids(self._encoder.encode(self._text(0, stop)))
        part = self._encoder.encode_infilling(self._text(int(self._places[word]), stop))
        return np.concatenate((self._ids[: self._tokens[word]], as_ids(part)))

    def encode_between(self, start: int, stop: int) -> IdArray:
        """Encode text[start:stop] as `Tokenizer.encode_infilling` does."""
        first = int(self._places.searchsorted(start, side="left"))
        last = self._last_word_at(stop)
        if first > last:
            return as_ids(self._encoder.encode_infilling(self._text(start, stop)))
        head = self._encoder.encode_infilling(self._text(start, int(self._places[first])))
        whole = self._ids[self._tokens[first] : self._tokens[last]]
        if stop == self.num_characters:
            return np.concatenate((as_ids(head), self._ids[self._tokens[first] :]))
        tail = self._encoder.encode_infilling(self._text(int(self._places[last]), stop))
        return np.concatenate((as_ids(head), whole, as_ids(tail)))

    def _last_word_at(self, place: int) -> int:
        """Give the last word after the first that starts at or before a place; -1 if none does."""
        return int(self._places.searchsorted(place, side="right")) - 1

    def _text(self, start: int, stop: int) -> str:
        """Decode the words around text[start:stop] and cut that out of them."""
        if start == stop:
            return ""
        first = self._last_word_at(start)
        after = int(self._places.searchsorted(stop, side="left"))
        end = self._tokens[after] if after < len(self._tokens) else len(self._ids)
        if first < 0:
            return self._encoder.decode(self._ids[:end].tolist())[start:stop]
        place = int(self._places[first])
        text = self._encoder.decode_infilling(self._ids[self._tokens[first] : end].tolist())
        return text[start - place : stop - place]


def as_ids(ids: Sequence[int]) -> IdArray:
    """Give ids as an array."""
    return np.asarray(ids, dtype=np.int64)


def word_tables(model: Any) -> WordTables | None:
    """Tabulate a SentencePiece model's pieces; None if its words are not independent of each other."""
    normalizer, trainer = model.normalizer_spec, model.trainer_spec
    if (
        trainer.model_type != BPE
        or trainer.treat_whitespace_as_suffix
        or normalizer.precompiled_charsmap
        or normalizer.remove_extra_whitespaces
        or not normalizer.add_dummy_prefix
        or not normalizer.escape_whitespaces
    ):
        return None
    texts = [piece.piece if piece.type == NORMAL else "" for piece in model.pieces]
    if any(SPACE in text.lstrip(SPACE) for text in texts):
        return None
    characters = [
        int(int(piece.piece[3:-1], 16) not in CONTINUATION_BYTES) if piece.type == BYTE else len(text)
        for piece, text in zip(model.pieces, texts, strict=True)
    ]
    return WordTables(
        characters=np.array(characters, dtype=np.int32),
        begins_with_space=np.array([text.startswith(SPACE) for text in texts]),
        ends_with_space=np.array([text.endswith(SPACE) for text in texts]),
    )
