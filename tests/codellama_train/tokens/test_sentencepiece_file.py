"""Which SentencePiece models are refused, each in one sentence that names the file and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from token_worlds import train_tokenizer

from codellama_train.console import UserError
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer, load_processor, parse_model

FULL_WIDTH = "\uff46\uff55"


@pytest.mark.parametrize(
    ("settings", "complaint", "remedy"),
    [
        ({"byte_fallback": False}, "has no byte fallback", "byte_fallback=true"),
        ({"model_type": "unigram"}, "of type unigram", "model_type=bpe"),
        ({"normalization_rule_name": "nmt_nfkc"}, "changes characters by its normaliser 'nmt_nfkc'", "=identity"),
        ({"normalization_rule_name": "nfkc_cf"}, "changes characters by its normaliser 'nfkc_cf'", "=identity"),
        ({"treat_whitespace_as_suffix": True}, "spaces at the ends of words", "treat_whitespace_as_suffix=false"),
        ({"bos_id": -1}, "has no BOS piece '<s>'", "bos_id"),
        ({"eos_id": -1}, "has no EOS piece '</s>'", "eos_id"),
    ],
)
def test_models_that_lose_or_change_text_are_refused(
    tmp_path: Path, source_texts: list[str], settings: dict[str, Any], complaint: str, remedy: str
):
    with pytest.raises(UserError) as refusal:
        train_tokenizer(tmp_path, "\n".join(source_texts), vocabulary_size=400, **settings)
    told = str(refusal.value)
    assert told.startswith(f"{tmp_path / 'tokenizer.model'} ")
    assert complaint in told
    assert remedy in told
    assert "\n" not in told


def test_what_the_refused_models_would_do(tmp_path: Path, source_texts: list[str]):
    for name, settings in (("lost", {"byte_fallback": False}), ("changed", {"normalization_rule_name": "nmt_nfkc"})):
        (tmp_path / name).mkdir()
        with pytest.raises(UserError):
            train_tokenizer(tmp_path / name, "\n".join(source_texts), vocabulary_size=400, **settings)
        model = load_processor((tmp_path / name / "tokenizer.model").read_bytes())
        assert model.decode(model.encode(FULL_WIDTH)) != FULL_WIDTH, name


def unescaped(model: Any) -> None:
    model.normalizer_spec.escape_whitespaces = False


def without_one_byte(model: Any) -> None:
    model.pieces[100].type = 1


def denormalising(model: Any) -> None:
    model.denormalizer_spec.precompiled_charsmap = b"x"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (unescaped, "escape_whitespaces=true"),
        (without_one_byte, "has no byte fallback"),
        (denormalising, "changes characters"),
    ],
)
def test_edited_models_are_refused(tokenizer: SentencePieceTokenizer, change: Callable[[Any], None], complaint: str):
    model = parse_model(tokenizer.model_bytes)
    change(model)
    with pytest.raises(UserError, match=complaint):
        SentencePieceTokenizer(model.SerializeToString())


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\x01\x02", b'{"model": {"type": "BPE"}}', "▁def".encode()])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"tokenizer\.model (is not a|holds no) SentencePiece model.*; give"):
        SentencePieceTokenizer.from_folder(tmp_path)


def test_a_truncated_model_is_refused(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    path = tmp_path / "tokenizer.model"
    for size in range(1, len(tokenizer.model_bytes), 97):
        path.write_bytes(tokenizer.model_bytes[:size])
        with pytest.raises(UserError, match=r"tokenizer\.model .*; give"):
            SentencePieceTokenizer.from_folder(tmp_path)


def test_models_that_treat_spaces_otherwise_are_taken(shared_data: Path, tokenizer: SentencePieceTokenizer):
    """Their documents are stored and trained on; only infilling needs every space."""
    stories = SentencePieceTokenizer.from_folder(shared_data / "stories260k" / "tok512.model")
    assert stories.decode(stories.encode("a  b")) == "a b"
    model = parse_model(tokenizer.model_bytes)
    model.normalizer_spec.add_dummy_prefix = False
    without_prefix = SentencePieceTokenizer(model.SerializeToString())
    for text in (" a  b", "a", "", "  ", "\n a"):
        assert without_prefix.decode(without_prefix.encode(text)) == text
        assert without_prefix.encode(text) == without_prefix.encode_infilling(text)
