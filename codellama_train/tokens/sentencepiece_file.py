"""What a SentencePiece `tokenizer.model` must be: of Llama's kind, which loses no character and changes none.

Spaces are another matter: a model that joins or drops them, or has no implicit leading one, can be trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from codellama_train.console import UserError

BPE, BYTE = 2, 6  # SentencePiece's model type and piece type
REMEDY = "give a Llama-style base's own tokenizer.model or, where it has none, its tokenizer.json"
MODEL_TYPES = {1: "unigram", 2: "BPE", 3: "word", 4: "character"}


def require_usable(model_bytes: bytes, origin: str) -> None:
    """Refuse, by the name of `origin`, what is no SentencePiece model and models that lose or change text."""
    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(model_bytes)
    except DecodeError as error:
        raise UserError(f"{origin} is not a SentencePiece model, or a damaged one; {REMEDY}") from error
    for complaint in _complaints(model):
        raise UserError(f"{origin} {complaint}")


def _complaints(model: Any) -> Iterator[str]:
    """Say what is wrong with a model, and what to give instead."""
    normalizer, trainer = model.normalizer_spec, model.trainer_spec
    if not model.pieces:
        yield f"holds no SentencePiece model; {REMEDY}"
    if trainer.model_type != BPE:
        kind = MODEL_TYPES.get(trainer.model_type, trainer.model_type)
        yield f"is a SentencePiece model of type {kind}; give a BPE one, as Llama's are (model_type=bpe)"
    if not trainer.byte_fallback or sum(piece.type == BYTE for piece in model.pieces) != 256:
        yield "has no byte fallback, so unknown characters would be lost; give one trained with byte_fallback=true"
    if normalizer.precompiled_charsmap or model.denormalizer_spec.precompiled_charsmap:
        yield (
            f"changes characters by its normaliser {normalizer.name!r}, so code would not come back; "
            "give one trained with normalization_rule_name=identity"
        )
    if trainer.treat_whitespace_as_suffix:
        yield "puts spaces at the ends of words; give one trained with treat_whitespace_as_suffix=false"
    if not normalizer.escape_whitespaces:
        yield "does not write spaces as ▁; give one trained with escape_whitespaces=true"
    names = {piece.piece for piece in model.pieces}
    for role, name in (("BOS", trainer.bos_piece), ("EOS", trainer.eos_piece)):
        if name not in names:
            yield f"has no {role} piece {name!r}, which documents need; give one trained with bos_id and eos_id"
