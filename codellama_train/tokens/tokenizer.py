"""What a token stream needs of a tokenizer, whichever library is behind it.

Text never becomes a control or sentinel id in any of them, whatever it spells: those are inserted as ids only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tokenizers

from codellama_train.console import UserError

IdArray = npt.NDArray[Any]  # uint16 or uint32 as shards store them, int64 in rows

VOCABULARY_MULTIPLE = 16


@dataclass(frozen=True)
class Sentinels:
    """Ids of the four infilling tokens (section 2.3)."""

    prefix: int
    suffix: int
    middle: int
    end: int


class DocumentText(Protocol):
    """The text behind a document's stored ids, of which parts are encoded anew; positions count code points."""

    @property
    def num_characters(self) -> int:
        """Length in code points."""
        ...

    def encode_up_to(self, stop: int) -> IdArray:
        """Encode text[:stop] as `Tokenizer.encode` does."""
        ...

    def encode_between(self, start: int, stop: int) -> IdArray:
        """Encode text[start:stop] as `Tokenizer.encode_infilling` does."""
        ...


class Tokenizer(Protocol):
    """A tokenizer extended by the four sentinels; its fingerprint tells whether shards and a model belong together."""

    @property
    def fingerprint(self) -> str:
        """Hash what decides the ids, the same before and after the sentinels were added to the files."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """Rows of the embedding: all ids, padded to a multiple of 16."""
        ...

    @property
    def bos_id(self) -> int:
        """The token every document begins with."""
        ...

    @property
    def eos_id(self) -> int:
        """The token a document in order ends with."""
        ...

    @property
    def step_id(self) -> int:
        """The token that ends a message in the 70B dialogue format."""
        ...

    @property
    def sentinels(self) -> Sentinels:
        """The tokens of an infilled document."""
        ...

    @property
    def longest_piece(self) -> int:
        """Most characters one token can stand for."""
        ...

    def encode(self, text: str) -> list[int]:
        """Encode, with the implicit leading space where the tokenizer has one; no BOS or EOS is added."""
        ...

    def encode_infilling(self, text: str) -> list[int]:
        """Encode a middle or a suffix: without the implicit leading space (section 2.3)."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Undo `encode`; control ids give nothing."""
        ...

    def decode_infilling(self, ids: Sequence[int]) -> str:
        """Undo `encode_infilling`: a leading space is the text's own and stays."""
        ...

    def document(self, ids: IdArray) -> DocumentText:
        """Open the ids of an *exact* document (as shards store them) for infilling."""
        ...

    def piece(self, token_id: int) -> str | None:
        """Name a token for people to read; None for a row of the embedding that no token has."""
        ...

    def for_transformers(self) -> tokenizers.Tokenizer:
        """Give the same tokenizer for the `tokenizers` library, its control tokens special and BOS before each text."""
        ...

    def save(self, folder: Path) -> None:
        """Write the files from which `open_tokenizer` gives this tokenizer again."""
        ...


def require_room(tokenizer: Tokenizer, *, text_ids: int, num_rows: int) -> None:
    """Refuse a model with fewer rows than text needs."""
    if num_rows < text_ids:
        raise UserError(
            f"model.architecture.vocab_size={num_rows:,} is less than the {text_ids:,} ids of the base's own "
            f"tokenizer; use {padded_vocabulary(text_ids):,}, or with the infilling tokens "
            f"{tokenizer.vocabulary_size:,}"
        )


class WholeText:
    """A document's text as one string, whose parts are encoded from the beginning."""

    def __init__(self, tokenizer: Tokenizer, text: str) -> None:
        self._tokenizer, self._text = tokenizer, text
        self.num_characters = len(text)

    def encode_up_to(self, stop: int) -> IdArray:
        """Encode text[:stop] as `Tokenizer.encode` does."""
        return np.asarray(self._tokenizer.encode(self._text[:stop]), dtype=np.int64)

    def encode_between(self, start: int, stop: int) -> IdArray:
        """Encode text[start:stop] as `Tokenizer.encode_infilling` does."""
        return np.asarray(self._tokenizer.encode_infilling(self._text[start:stop]), dtype=np.int64)


def padded_vocabulary(num_ids: int) -> int:
    """Pad a number of ids to the multiple that the released models have."""
    return -(-num_ids // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
