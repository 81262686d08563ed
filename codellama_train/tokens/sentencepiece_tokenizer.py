"""Llama-style SentencePiece tokenizers, extended by Code Llama's 16 infilling pieces (section 2.3)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2

from codellama_train.console import UserError
from codellama_train.tokens.sentencepiece_file import require_usable
from codellama_train.tokens.sentencepiece_translation import build_fast_tokenizer
from codellama_train.tokens.tokenizer import (
    DocumentText,
    IdArray,
    Sentinels,
    WholeText,
    padded_vocabulary,
    require_room,
)
from codellama_train.tokens.wordwise import WordEncoder, WordwiseText, word_tables

SENTENCEPIECE_FILE = "tokenizer.model"
CONTROL = 3  # SentencePiece's piece type that no text can spell

# Code Llama's layout: ids 32,000 to 32,015 in this order. The first seven and the last five are never used; they are
# kept so that the four sentinels have the ids of the released models.
INFILLING_PIECES = (
    *("▁<SU", "▁<SUF", "▁<PRE", "▁<M", "▁<MID", "▁<E", "▁<EOT"),
    *("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"),
    *("▁" + "<EOT>" * times for times in range(2, 7)),
)
SENTINEL_PIECES = INFILLING_PIECES[7:11]
STEP_PIECE = "<step>"  # what the 70B Instruct model has in place of the last one


class SentencePieceTokenizer:
    """A `tokenizer.model` with the infilling pieces as ids only: no text is ever encoded to one of them.

    The pieces are appended in memory after the base's own (or demoted there, if the base is a Code Llama), so encoding
    of ordinary text is exactly the base's.
    """

    def __init__(self, model_bytes: bytes, *, origin: str = SENTENCEPIECE_FILE) -> None:
        require_usable(model_bytes, origin)
        extended = extend_model(model_bytes)
        self.fingerprint = hashlib.sha256(model_bytes).hexdigest()
        self.model_bytes = model_bytes
        self._plain = load_processor(extended)
        self._bare = load_processor(without_dummy_prefix(extended))
        tables = word_tables(parse_model(extended))
        self.words = tables and WordEncoder(
            tables, self.encode, self.encode_infilling, self.decode, self.decode_infilling
        )
        self._num_ids: int = self._plain.get_piece_size()
        self.vocabulary_size = padded_vocabulary(self._num_ids)
        self.bos_id: int = self._plain.bos_id()
        self.eos_id: int = self._plain.eos_id()
        self.step_id: int = step_id(extended)
        self.longest_piece = max(len(piece.piece) for piece in parse_model(extended).pieces)
        self.sentinels = Sentinels(
            prefix=self._plain.piece_to_id("▁<PRE>"),
            suffix=self._plain.piece_to_id("▁<SUF>"),
            middle=self._plain.piece_to_id("▁<MID>"),
            end=self._plain.piece_to_id("▁<EOT>"),
        )

    @classmethod
    def from_folder(cls, folder: Path) -> SentencePieceTokenizer:
        """Read `tokenizer.model` from a model folder or a tokenizer folder."""
        path = folder if folder.is_file() else folder / SENTENCEPIECE_FILE
        if not path.is_file():
            raise UserError(f"{folder} has no {SENTENCEPIECE_FILE}; a SentencePiece tokenizer is needed")
        return cls(path.read_bytes(), origin=str(path))

    def save(self, folder: Path) -> None:
        """Write the base's `tokenizer.model`, from which the extended tokenizer is rebuilt."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SENTENCEPIECE_FILE).write_bytes(self.model_bytes)

    def encode(self, text: str) -> list[int]:
        """Encode with Llama's implicit leading space; no BOS or EOS is added."""
        ids: list[int] = self._plain.encode(text)
        return ids

    def encode_infilling(self, text: str) -> list[int]:
        """Encode a middle or a suffix: without the implicit leading space (section 2.3)."""
        ids: list[int] = self._bare.encode(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Undo `encode`; control ids give nothing."""
        text: str = self._plain.decode(ids if isinstance(ids, list) else [int(token) for token in ids])
        return text

    def decode_infilling(self, ids: Sequence[int]) -> str:
        """Undo `encode_infilling`: a leading space is the text's own and stays."""
        text: str = self._bare.decode(ids if isinstance(ids, list) else [int(token) for token in ids])
        return text

    def document(self, ids: IdArray) -> DocumentText:
        """Open the ids of an *exact* document for infilling."""
        return WordwiseText(self.words, ids) if self.words else WholeText(self, self.decode(ids.tolist()))

    def piece(self, token_id: int) -> str | None:
        """Name a token for people to read; None for a row of the embedding that no token has."""
        return self._plain.id_to_piece(token_id) if token_id < self._num_ids else None

    def within(self, num_rows: int) -> SentencePieceTokenizer:
        """Give this tokenizer for a model of fewer embedding rows: without the infilling tokens that the base lacks."""
        limited = copy.copy(self)
        limited.vocabulary_size, limited._num_ids = num_rows, len(parse_model(self.model_bytes).pieces)
        require_room(self, text_ids=limited._num_ids, num_rows=num_rows)
        return limited

    def for_transformers(self) -> tokenizers.Tokenizer:
        """Give the same tokenizer for the `tokenizers` library, its control tokens special and BOS before each text."""
        return build_fast_tokenizer(self.extended_model(), bos_id=self.bos_id)

    def extended_model(self) -> Any:
        """Give the extended SentencePiece model as a protocol buffer, for the export to other formats."""
        model = parse_model(self._plain.serialized_model_proto())
        del model.pieces[self._num_ids :]
        return model


def parse_model(model_bytes: bytes) -> Any:
    """Read a SentencePiece model file's bytes."""
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(model_bytes)
    return model


def extend_model(model_bytes: bytes) -> bytes:
    """Append the 16 infilling pieces as control pieces; sentinels that the base already has keep their ids, demoted.

    As ordinary pieces (Meta's form) they would turn the text ` <PRE>` of a user's file into a sentinel id. Where an
    ordinary piece of the base has the name of an unused one, that stays ordinary and its place is filled.
    """
    model = parse_model(model_bytes)
    present = {piece.piece: piece for piece in model.pieces}
    is_code_llama = all(name in present for name in INFILLING_PIECES[:-1])
    own = (*INFILLING_PIECES, STEP_PIECE) if is_code_llama else SENTINEL_PIECES
    for name in own:
        if name in present:
            present[name].type = CONTROL
    missing: Sequence[str] = INFILLING_PIECES
    if all(name in present for name in SENTINEL_PIECES):
        has_step = is_code_llama and (STEP_PIECE in present or INFILLING_PIECES[-1] in present)
        missing = () if has_step else (STEP_PIECE,)
    for index, name in enumerate(missing):
        place_name = f"<infilling_{index}>" if name in present else name
        model.pieces.add(piece=place_name, score=-1e9 - index, type=CONTROL)
    extended: bytes = model.SerializeToString()
    return extended


def step_id(extended: bytes) -> int:
    """Find the id that ends a message in the 70B dialogue format: `<step>`, or the last of the 16 in its place."""
    pieces = parse_model(extended).pieces
    controls = {piece.piece: token_id for token_id, piece in enumerate(pieces) if piece.type == CONTROL}
    return next((controls[name] for name in (STEP_PIECE, INFILLING_PIECES[-1]) if name in controls), len(pieces) - 1)


def without_dummy_prefix(model_bytes: bytes) -> bytes:
    """Switch the implicit leading space off.

    Equal to Meta's trick (encode after a rare symbol, drop two ids) wherever that symbol is one piece, and right where
    it is not.
    """
    model = parse_model(model_bytes)
    model.normalizer_spec.add_dummy_prefix = False
    bare: bytes = model.SerializeToString()
    return bare


def load_processor(model_bytes: bytes) -> Any:
    """Load a SentencePiece processor from bytes."""
    processor = sentencepiece.SentencePieceProcessor()
    processor.load_from_serialized_proto(model_bytes)
    return processor
