"""SentencePiece models translated for the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors

from codellama_train.console import UserError

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # SentencePiece's piece types
BPE = 2  # SentencePiece's model type
SPACE = "▁"
MANY = 1 << 20


def build_fast_tokenizer(model: Any, *, bos_id: int) -> Tokenizer:
    """Translate a SentencePiece BPE model for the `tokenizers` library."""
    refuse_untranslatable(model)
    bos = model.pieces[bos_id].piece
    fast = Tokenizer(
        models.BPE(
            vocab={piece.piece: token_id for token_id, piece in enumerate(model.pieces)},
            merges=list(merges_by_score(model)),
            unk_token=model.pieces[model.trainer_spec.unk_id].piece,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    fast.normalizer = normalizers.Sequence(list(normalising_steps(model)))
    fast.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, bos_id)]
    )
    leading_spaces = MANY if model.normalizer_spec.remove_extra_whitespaces else 1
    fast.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", leading_spaces, 0)]
    )
    controls = [piece.piece for piece in model.pieces if piece.type in (UNKNOWN, CONTROL)]
    fast.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in controls])
    return fast


def refuse_untranslatable(model: Any) -> None:
    """Refuse SentencePiece features that Llama's tokenizers do not have and that this translation does not know."""
    normalizer, trainer = model.normalizer_spec, model.trainer_spec
    types = {piece.type for piece in model.pieces}
    if (
        trainer.model_type != BPE
        or normalizer.precompiled_charsmap
        or not normalizer.add_dummy_prefix
        or trainer.treat_whitespace_as_suffix
        or not types <= {NORMAL, UNKNOWN, CONTROL, BYTE}
        or BYTE not in types
    ):
        raise UserError(
            "only a SentencePiece model of Llama's kind can be exported (BPE, byte fallback, identity normaliser, "
            f"dummy prefix); this one is of model type {trainer.model_type} with normaliser {normalizer.name!r}"
        )


def merges_by_score(model: Any) -> Iterator[tuple[str, str]]:
    """List the merges as SentencePiece ranks them: by the score of the piece they form."""
    ids = {piece.piece: token_id for token_id, piece in enumerate(model.pieces) if piece.type == NORMAL}
    for whole in sorted(ids, key=lambda piece: (-model.pieces[ids[piece]].score, ids[piece])):
        pairs = [(whole[:cut], whole[cut:]) for cut in range(1, len(whole))]
        known = [pair for pair in pairs if pair[0] in ids and pair[1] in ids]
        yield from sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]]))


def normalising_steps(model: Any) -> Iterator[normalizers.Normalizer]:
    """Give SentencePiece's treatment of spaces."""
    if model.normalizer_spec.remove_extra_whitespaces:
        yield normalizers.Replace(Regex(rf"\A +|[ {SPACE}]+\z"), "")
        yield normalizers.Replace(Regex(" +"), " ")
    yield normalizers.Prepend(SPACE)
    yield normalizers.Replace(" ", SPACE)
