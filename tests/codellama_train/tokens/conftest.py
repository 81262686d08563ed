"""A small tokenizer with Llama's settings, trained on files that every Python has."""

from __future__ import annotations

import argparse
import json
import random
import textwrap
from pathlib import Path

import pytest
from token_worlds import dialogue_documents, text_documents, train_tokenizer, write_shards

from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet

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


@pytest.fixture(scope="session")
def functions(
    tokenizer: SentencePieceTokenizer, source_texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> ShardSet:
    """Short pieces of source text, one in forty of them not exact."""
    rng = random.Random(1)
    texts = []
    for number in range(160):
        start = rng.randrange(len(source_texts[0]) - 400)
        text = source_texts[0][start : start + rng.randrange(0, 250)]
        texts.append(text + "▁" if number % 40 == 7 else text)
    folder = tmp_path_factory.mktemp("shards") / "functions"
    return write_shards(folder, tokenizer, text_documents(tokenizer, texts), tokens_per_shard=2_000)


@pytest.fixture(scope="session")
def files(
    tokenizer: SentencePieceTokenizer, source_texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> ShardSet:
    """Documents of very different lengths, some longer than many rows; fewer than there are lanes."""
    texts = [
        "x = 1\n",
        source_texts[1][:9_000],
        *(source_texts[2][start : start + 900] for start in range(0, 5_000, 900)),
    ]
    folder = tmp_path_factory.mktemp("shards") / "files"
    return write_shards(folder, tokenizer, text_documents(tokenizer, texts))


@pytest.fixture(scope="session")
def dialogues(tokenizer: SentencePieceTokenizer, tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Dialogues of one to three exchanges, one of them longer than two rows."""
    exchanges = [[(f"Add {n} and {m}", f"The sum is {n + m}. " * (m + 1)) for m in range(n % 3 + 1)] for n in range(20)]
    exchanges.append([("Count", "one two three " * 60)])
    folder = tmp_path_factory.mktemp("shards") / "dialogues"
    return write_shards(folder, tokenizer, dialogue_documents(tokenizer, exchanges), kind="dialogues")
