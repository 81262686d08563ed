"""The trained tokenizer: Llama 2's settings, and the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import pytest
from byte_level_worlds import add_tokens, edit, write_byte_level, write_json
from hypothesis import given
from hypothesis import strategies as st
from preparing import STDLIB, mini_recipe

from codellama_train.console import UserError
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.sentencepiece_tokenizer import INFILLING_PIECES, SentencePieceTokenizer, parse_model
from data_prep.train_tokenizer import inputs_of, run, train
from data_prep.work import Work

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


def recipe_with(tmp_path: Path, path: Path):
    return mini_recipe(tmp_path / "runs", tmp_path, tokenizer={"path": str(path)})


@pytest.mark.parametrize("name", ["", "tokenizer.json"])
def test_a_byte_level_tokenizer_is_taken_over_with_the_infilling_tokens(tmp_path, name):
    base = write_byte_level(tmp_path / "base", "llama3")
    (tmp_path / "stage").mkdir()
    facts = run(Work(recipe_with(tmp_path, base / name), tmp_path / "stage", tmp_path))
    tokenizer, written = open_tokenizer(base), open_tokenizer(tmp_path / "stage")
    assert facts == {"tokenizer": tokenizer.fingerprint, "vocabulary_size": tokenizer.vocabulary_size}
    assert written.fingerprint == tokenizer.fingerprint
    assert written.encode("<PRE>def") == tokenizer.encode("<PRE>def")


@pytest.mark.parametrize("name", ["", "tokenizer.model"])
def test_a_sentencepiece_tokenizer_is_copied(tmp_path, model, name):
    (tmp_path / "tokenizer.model").write_bytes(model)
    (tmp_path / "stage").mkdir()
    run(Work(recipe_with(tmp_path, tmp_path / name), tmp_path / "stage", tmp_path))
    assert (tmp_path / "stage/tokenizer.model").read_bytes() == model


def test_another_tokenizer_in_the_same_place_is_noticed(tmp_path):
    base = write_byte_level(tmp_path / "base", "gpt2")
    recipe = recipe_with(tmp_path, base)
    seen = [inputs_of(recipe)]
    edit(base, lambda stored: add_tokens(stored, ["<end>"]))
    seen.append(inputs_of(recipe))
    write_json(base / "tokenizer_config.json", {"eos_token": "<end>"})
    seen.append(inputs_of(recipe))
    write_json(base / "README.json", {})
    assert inputs_of(recipe) == seen[-1]
    assert seen[0] != seen[1] != seen[2] != seen[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "missing",
            r"tokenizer\.path = '.*missing': there is no such file; name a model's folder, its tokenizer\.model",
        ),
        ("", r"has no tokenizer\.model and no tokenizer\.json"),
    ],
)
def test_a_place_without_tokenizer_is_refused(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        inputs_of(recipe_with(tmp_path, tmp_path / name))
