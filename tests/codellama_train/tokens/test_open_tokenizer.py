from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from byte_level_worlds import write_byte_level

from codellama_train.console import UserError
from codellama_train.tokens.byte_level_tokenizer import ByteLevelTokenizer
from codellama_train.tokens.hugging_face import write_fast_tokenizer
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

LIST_OF_RANKS = b"IQ== 0\nIg== 1\nIw== 2\n"  # what Llama 3 calls tokenizer.model


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_byte_level(tmp_path_factory.mktemp("llama3"), "llama3")


@pytest.fixture
def folder(byte_level: Path, tmp_path: Path) -> Path:
    return shutil.copytree(byte_level, tmp_path / "folder")


@pytest.mark.parametrize("name", ["", "tokenizer.json"])
def test_a_byte_level_tokenizer_is_opened_by_folder_or_file(byte_level: Path, name: str):
    assert isinstance(open_tokenizer(byte_level / name), ByteLevelTokenizer)


@pytest.mark.parametrize("name", ["", "tokenizer.model"])
def test_a_sentencepiece_tokenizer_is_opened_by_folder_or_file(
    tokenizer: SentencePieceTokenizer, tmp_path: Path, name: str
):
    tokenizer.save(tmp_path)
    write_fast_tokenizer(tokenizer, tmp_path)  # which makes a tokenizer.json, too
    opened = open_tokenizer(tmp_path / name)
    assert isinstance(opened, SentencePieceTokenizer)
    assert opened.fingerprint == tokenizer.fingerprint


def test_a_list_of_ranks_is_passed_over_for_the_tokenizer_json(folder: Path):
    (folder / "tokenizer.model").write_bytes(LIST_OF_RANKS)
    assert isinstance(open_tokenizer(folder), ByteLevelTokenizer)


@pytest.mark.parametrize("content", [LIST_OF_RANKS, b"", b"<html>"])
@pytest.mark.parametrize("name", ["", "tokenizer.model"])
def test_a_model_that_is_not_sentencepieces_is_refused(tmp_path: Path, content: bytes, name: str):
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(UserError, match=r"tokenizer\.model (is not a|holds no) SentencePiece model"):
        open_tokenizer(tmp_path / name)


def test_a_sentencepiece_translation_alone_is_refused(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    write_fast_tokenizer(tokenizer, tmp_path)
    with pytest.raises(UserError, match=r"made from a SentencePiece model .* put its tokenizer\.model beside it"):
        open_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["", "missing"])
def test_a_folder_without_tokenizer_is_refused_by_both_names(tmp_path: Path, name: str):
    with pytest.raises(UserError, match=r"has no tokenizer\.model and no tokenizer\.json"):
        open_tokenizer(tmp_path / name)
