"""The trained tokenizer: Llama 2's settings, and the same bytes every time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from preparing import STDLIB

from codellama_train.console import UserError
from codellama_train.tokens.tokenizer import INFILLING_PIECES, SentencePieceTokenizer, parse_model
from data_prep.train_tokenizer import train

# What follows the data and the machine, and what newer SentencePiece releases have added.
FREE = {
    "input",
    "input_format",
    "model_prefix",
    "vocab_size",
    "num_threads",
    "pretokenization_delimiter",
    "input_sentence_size",
}
LINES = [line for name in ("argparse.py", "textwrap.py") for line in (STDLIB / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def model() -> bytes:
    return train(iter(LINES), 600)


@pytest.mark.parametrize("folder", ["llama2_tokenizer", "mistral_v1_tokenizer"])
def test_settings_are_those_of_llama_2(model, shared_data, folder):
    ours, theirs = parse_model(model), parse_model((shared_data / folder / "tokenizer.model").read_bytes())
    for spec in ("trainer_spec", "normalizer_spec"):
        for setting in getattr(theirs, spec).DESCRIPTOR.fields:
            if setting.name not in FREE:
                mine, reference = (
                    getattr(getattr(ours, spec), setting.name),
                    getattr(getattr(theirs, spec), setting.name),
                )
                assert mine == reference, (spec, setting.name)


def test_pieces_are_laid_out_like_llama_2s(model):
    pieces = [piece.piece for piece in parse_model(model).pieces]
    assert len(pieces) == 600
    assert pieces[:3] == ["<unk>", "<s>", "</s>"]
    assert pieces[3:259] == [f"<0x{byte:02X}>" for byte in range(256)]
    assert max(map(len, pieces[259:])) <= 16


def test_training_again_gives_the_same_bytes(model):
    assert train(iter(LINES), 600) == model


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\u2581"), max_size=60))
def test_any_text_is_given_back(model, text):
    tokenizer = SentencePieceTokenizer(model)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_infilling_pieces_come_after(model):
    tokenizer = SentencePieceTokenizer(model)
    assert tokenizer.vocabulary_size == 624  # 600 + 16, to a multiple of 16
    assert tokenizer.sentinels.prefix == 600 + INFILLING_PIECES.index("▁<PRE>")


@pytest.mark.parametrize("size", [100, 100_000])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(UserError, match=f"tokenizer.vocabulary_size={size:,}"):
        train(iter(LINES[:50]), size)
