"""What becomes of one document in the shards: the document whole, its functions, or dialogues made from them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from codellama_train.recipe.data import Cut
from codellama_train.tokens.dialogue import TAGS, Message, encode_dialogue
from codellama_train.tokens.dialogue_format import DialogueFormat
from codellama_train.tokens.exactness import InexactCause, cause_of_inexactness
from codellama_train.tokens.tokenizer import Tokenizer
from data_prep.documents import digest
from data_prep.shards.blocks import blocks_of
from data_prep.shards.python_code import documented_functions, functions_of, parse_python
from data_prep.sources.dialogues import messages_of_text
from data_prep.tags.languages import DIALOGUE


@dataclass(frozen=True)
class Piece:
    """A text to be tokenised: `messages` instead where it is a dialogue."""

    text: str
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Encoded:
    """A tokenised piece. `predicted` is None where every token is, `inexact_cause` where the ids give the text back."""

    ids: list[int]
    inexact_cause: InexactCause | None
    predicted: list[bool] | None = None


class PieceEncoder:
    """Encodes pieces, each text once even if its length is asked for first."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._longest_piece = tokenizer.longest_piece
        self._ids: dict[str, list[int]] = {}

    def fits_in(self, max_tokens: int) -> Callable[[str], bool]:
        """Give a test of whether a text has at most so many tokens."""

        def fits(text: str) -> bool:
            return self.is_possible(text, max_tokens) and len(self._encode(text)) <= max_tokens

        return fits

    def is_possible(self, text: str, max_tokens: int) -> bool:
        """Tell from its characters alone whether a text may have so few tokens, which saves encoding it."""
        return len(text) <= max_tokens * self._longest_piece

    def encode(self, piece: Piece, dialogue_format: DialogueFormat) -> Encoded:
        """Give a piece's ids, and why they do not decode to its text if so; the format is that of dialogues."""
        if piece.messages:
            ids, predicted = encode_dialogue(self._tokenizer, piece.messages, dialogue_format)
            causes = map(self._inexact_cause, (message.content.strip() for message in piece.messages))
            return Encoded(ids, next(filter(None, causes), None), predicted)
        ids = self._encode(piece.text)
        return Encoded(ids, cause_of_inexactness(self._tokenizer, piece.text, ids))

    def forget(self) -> None:
        """Drop the texts remembered, once a document is done."""
        self._ids.clear()

    def _inexact_cause(self, text: str) -> InexactCause | None:
        return cause_of_inexactness(self._tokenizer, text, self._tokenizer.encode(text))

    def _encode(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = self._tokenizer.encode(text)
        return self._ids[text]


def pieces_of(text: str, language: str, cut: Cut, fits: Callable[[str], bool]) -> Iterator[Piece]:
    """Cut a document. Raises SyntaxError for Python that does not parse, where that matters."""
    if cut == "files":
        yield Piece(text)
    elif cut == "dialogues" and language == DIALOGUE:
        yield Piece(text, messages_of_text(text))
    elif cut == "functions" and language == "python":
        yield from (Piece(part) for part in functions_of(_parsed(text), text, fits))
    elif cut == "functions":
        yield from (Piece(part) for part in blocks_of(text, language, fits))
    elif language == "python":
        for function in documented_functions(_parsed(text), text):
            messages = (Message("user", function.request), Message("assistant", function.answer))
            yield Piece(f"{function.request}\n{function.answer}", messages)


@lru_cache(maxsize=1)
def _parsed(text: str) -> ast.Module:
    """Parse a document once for all its views."""
    return parse_python(text)


def holds_chat_tag(messages: Sequence[Message]) -> bool:
    """Tell whether a dialogue's words could be taken for the chat format itself."""
    return any(tag in message.content for message in messages for tag in TAGS)


def piece_id(document_id: bytes, cut: Cut, index: int) -> bytes:
    """Name a piece by its document, the way it was cut and its place among the document's pieces."""
    return document_id if cut == "files" else digest(document_id + f"{cut}:{index}".encode())


def content_of(piece: Piece) -> bytes:
    """Hash what a piece says, white space aside."""
    return digest(" ".join(piece.text.split()).encode())
