"""An optional faster encoder in front of a tokenizer: `gigatoken`, used only where it gives the tokenizer's own ids.

It is built from our translation of the tokenizer without its added tokens, because it would find their names in text.
It is compared with the tokenizer before its first use, and at every 256th call after that.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import tokenizers

from codellama_train.tokens.byte_level_tokenizer import ByteLevelTokenizer
from codellama_train.tokens.check_texts import check_texts
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.sentencepiece_translation import build_fast_tokenizer
from codellama_train.tokens.tokenizer import DocumentText, IdArray, Tokenizer, WholeText
from codellama_train.tokens.wordwise import WordwiseText

logger = logging.getLogger(__name__)

LIBRARY = "gigatoken"
CALLS_PER_COMPARISON = 256
# The library remembers each word it meets and never forgets one: about as many bytes as real code has, seven times as
# many for text that never repeats. A fresh start takes a twentieth of a second.
CHARACTERS_PER_START = 1 << 26
SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Definitions:
    """The two encoders in the form of `tokenizer.json`, without added tokens."""

    plain: str
    infilling: str


class FastTokenizer:
    """A tokenizer whose texts are encoded by `gigatoken`; all else, and the last word on ids, is the tokenizer's."""

    def __init__(self, tokenizer: Tokenizer, definitions: Definitions) -> None:
        self._tokenizer = tokenizer
        self._plain = ComparedEncoder(definitions.plain, oracle=tokenizer.encode)
        self._infilling = ComparedEncoder(definitions.infilling, oracle=tokenizer.encode_infilling)
        self.fingerprint = tokenizer.fingerprint
        self.vocabulary_size = tokenizer.vocabulary_size
        self.bos_id, self.eos_id, self.step_id = tokenizer.bos_id, tokenizer.eos_id, tokenizer.step_id
        self.sentinels = tokenizer.sentinels
        self.longest_piece = tokenizer.longest_piece
        words = tokenizer.words if isinstance(tokenizer, SentencePieceTokenizer) else None
        self._words = words and replace(words, encode=self.encode, encode_infilling=self.encode_infilling)

    def encode(self, text: str) -> list[int]:
        """Encode, with the implicit leading space where the tokenizer has one; no BOS or EOS is added."""
        return self._plain.encode(text)

    def encode_infilling(self, text: str) -> list[int]:
        """Encode a middle or a suffix: without the implicit leading space (section 2.3)."""
        return self._infilling.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Undo `encode`; control ids give nothing."""
        return self._tokenizer.decode(ids)

    def decode_infilling(self, ids: Sequence[int]) -> str:
        """Undo `encode_infilling`: a leading space is the text's own and stays."""
        return self._tokenizer.decode_infilling(ids)

    def document(self, ids: IdArray) -> DocumentText:
        """Open the ids of an *exact* document for infilling."""
        return WordwiseText(self._words, ids) if self._words else WholeText(self, self.decode(ids.tolist()))

    def piece(self, token_id: int) -> str | None:
        """Name a token for people to read; None for a row of the embedding that no token has."""
        return self._tokenizer.piece(token_id)

    def for_transformers(self) -> tokenizers.Tokenizer:
        """Give the tokenizer's own translation."""
        return self._tokenizer.for_transformers()

    def save(self, folder: Path) -> None:
        """Write the tokenizer's own files."""
        self._tokenizer.save(folder)

    def first_difference(self, texts: Iterable[str]) -> str | None:
        """Name the first text whose ids are not the tokenizer's; None if all are equal."""
        for text in texts:
            if self._plain.differs(text) or self._infilling.differs(text):
                return beginning_of(text)
        return None


class ComparedEncoder:
    """One encoder of `gigatoken`, compared with `oracle` at every 256th call; threads may share it.

    It encodes one text at a time in the thread that asks, so that processes and threads of ours do not multiply.
    """

    def __init__(self, definition: str, *, oracle: Callable[[str], list[int]]) -> None:
        self._definition, self._oracle = definition, oracle
        self._encoder = encoder_of(definition)
        self._calls = self._characters = 0  # threads may lose a count, on which nothing depends

    def encode(self, text: str) -> list[int]:
        """Give the ids of a text; raises RuntimeError if they are found to differ from the oracle's."""
        self._calls += 1
        self._characters += len(text)
        if self._characters > CHARACTERS_PER_START:
            self._encoder, self._characters = encoder_of(self._definition), len(text)
        ids = self._encoder(text)
        if self._calls % CALLS_PER_COMPARISON == 0 and ids != self._oracle(text):
            raise RuntimeError(
                f"{LIBRARY} gives other ids than the tokenizer for the text that begins {beginning_of(text)}; "
                f"run `pip uninstall {LIBRARY}` and start again without it"
            )
        return ids

    def differs(self, text: str) -> bool:
        """Tell whether a text's ids are not the oracle's."""
        return self._encoder(text) != self._oracle(text)


def with_fast_encoder(tokenizer: Tokenizer) -> Tokenizer:
    """Put the fast encoder in front of a tokenizer if it is installed and proves equal; else give that back."""
    if find_spec(LIBRARY) is None:
        return tokenizer
    name = f"{LIBRARY} {metadata.version(LIBRARY)}"
    try:
        fast = FastTokenizer(tokenizer, definitions_of(tokenizer))
    except (ImportError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        say_once(f"{name} cannot stand in for this tokenizer, so the tokenizer's own library encodes ({reason})")
        return tokenizer
    difference = fast.first_difference(check_texts(tokenizer))
    if difference is not None:
        say_once(f"{name} gives other ids than the tokenizer for {difference}, so the tokenizer's own library encodes")
        return tokenizer
    say_once(f"{name} encodes; its ids were checked against the tokenizer's own library")
    return fast


def definitions_of(tokenizer: Tokenizer) -> Definitions:
    """Translate a tokenizer; raises ValueError if it is of a kind that has no translation."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        return sentencepiece_definitions(tokenizer)
    if isinstance(tokenizer, ByteLevelTokenizer):
        return Definitions(plain=tokenizer.definition, infilling=tokenizer.definition)
    raise ValueError(f"a {type(tokenizer).__name__} has no translation")


def sentencepiece_definitions(tokenizer: SentencePieceTokenizer) -> Definitions:
    """Translate a SentencePiece model as for export; no merge there forms a control piece."""
    translated = build_fast_tokenizer(tokenizer.extended_model(), bos_id=tokenizer.bos_id)
    plain = json.loads(translated.to_str()) | {"added_tokens": [], "post_processor": None}
    steps = [step for step in plain["normalizer"]["normalizers"] if step["type"] != "Prepend"]
    without_prefix = plain | {"normalizer": plain["normalizer"] | {"normalizers": steps}}
    return Definitions(plain=json.dumps(plain), infilling=json.dumps(without_prefix))


def encoder_of(definition: str) -> Callable[[str], list[int]]:
    """Load a definition; raises RuntimeError or ValueError where the library does not know something in it."""
    from gigatoken import Tokenizer as Gigatoken

    encode = Gigatoken.from_json(definition).backend.encode
    return lambda text: encode(text).tolist()


def beginning_of(text: str) -> str:
    """Show how a text begins."""
    return repr(text[:SHOWN_CHARACTERS])


@lru_cache(maxsize=32)
def say_once(message: str) -> None:
    """Log a message that has not been logged in this process."""
    logger.info("%s", message)
