"""A small tokenizer with Llama's settings, trained on files that every Python has."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

import pytest
from token_worlds import train_tokenizer

from codellama_train.tokens.tokenizer import SentencePieceTokenizer

ACCENTS = "naïve café, façade; Ünïcödé — 漢字 かな 🙂\n"


@pytest.fixture(scope="session")
def source_texts() -> list[str]:
    """Real source files, and one line of characters of several bytes."""
    modules = (argparse, textwrap, json)
    return [Path(str(module.__file__)).read_text(encoding="utf-8") for module in modules] + [ACCENTS]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, source_texts: list[str]) -> SentencePieceTokenizer:
    """A tokenizer of 637 trained pieces."""
    return train_tokenizer(tmp_path_factory.mktemp("tokenizer"), "\n".join(source_texts), vocabulary_size=637)


@pytest.fixture(scope="session", params=["llama2_tokenizer", "mistral_v1_tokenizer"])
def real_tokenizer(request: pytest.FixtureRequest, shared_data: Path) -> SentencePieceTokenizer:
    """A published tokenizer of 32,000 pieces."""
    return SentencePieceTokenizer.from_folder(shared_data / request.param)


@pytest.fixture(scope="session")
def llama2(shared_data: Path) -> SentencePieceTokenizer:
    """The tokenizer of Llama 2 and Code Llama."""
    return SentencePieceTokenizer.from_folder(shared_data / "llama2_tokenizer")
