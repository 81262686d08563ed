"""Shards and mixtures for the tests of the data order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from codellama_train.tokens.dialogue import Message, encode_dialogue
from codellama_train.tokens.exactness import cause_of_inexactness
from codellama_train.tokens.lane_state import LaneState
from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.mixture import MixtureSource
from codellama_train.tokens.rows import Row
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardKind, ShardSet, ShardWriter, TokenizedDocument


def train_tokenizer(folder: Path, text: str, *, vocabulary_size: int, **settings: object) -> SentencePieceTokenizer:
    """Train a SentencePiece BPE model with Llama 2's settings, but for those given."""
    (folder / "corpus.txt").write_text(text, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        **{
            "input": str(folder / "corpus.txt"),
            "model_prefix": str(folder / "tokenizer"),
            "vocab_size": vocabulary_size,
            "model_type": "bpe",
            "byte_fallback": True,
            "split_digits": True,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "allow_whitespace_only_pieces": True,
            "character_coverage": 0.999,
            "max_sentence_length": 100_000,
            "minloglevel": 2,
            **settings,
        }
    )
    return SentencePieceTokenizer.from_folder(folder)


def identify(text: str) -> bytes:
    """Name a text as data preparation does: by 16 bytes."""
    return hashlib.sha256(text.encode()).digest()[:16]


def write_shards(
    folder: Path,
    tokenizer: SentencePieceTokenizer,
    documents: Iterable[TokenizedDocument],
    *,
    kind: ShardKind = "documents",
    tokens_per_shard: int = 1 << 20,
) -> ShardSet:
    """Write a shard set and open it."""
    with ShardWriter(
        folder,
        kind=kind,
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocabulary_size=tokenizer.vocabulary_size,
        facts={"source": folder.name},
        tokens_per_shard=tokens_per_shard,
    ) as writer:
        for document in documents:
            writer.add(document)
    return ShardSet(folder)


def text_documents(tokenizer: SentencePieceTokenizer, texts: Iterable[str]) -> Iterable[TokenizedDocument]:
    """Tokenize texts and say which come back exactly."""
    for text in texts:
        ids = tokenizer.encode(text)
        cause = cause_of_inexactness(tokenizer, text, ids)
        yield TokenizedDocument(identify(text), ids, is_exact=cause is None, inexact_cause=cause)


def dialogue_documents(
    tokenizer: SentencePieceTokenizer, exchanges: Iterable[Sequence[tuple[str, str]]]
) -> Iterable[TokenizedDocument]:
    """Tokenize dialogues, each a list of requests and answers."""
    for turns in exchanges:
        messages = [m for request, answer in turns for m in (Message("user", request), Message("assistant", answer))]
        ids, predicted = encode_dialogue(tokenizer, messages)
        yield TokenizedDocument(identify(str(turns)), ids, is_exact=True, predicted=predicted)


def mixture_of(
    tokenizer: SentencePieceTokenizer,
    sources: dict[str, tuple[float, ShardSet]],
    *,
    sequence_length: int,
    num_lanes: int,
    infilling_rate: float | None = None,
    document_mask: bool = False,
    best_fit_documents: int | None = None,
    seed: int = 7,
) -> Mixture:
    """Build a mixture of named shares and shards."""
    return Mixture(
        [MixtureSource(name, share, shards, infilling_rate) for name, (share, shards) in sources.items()],
        tokenizer=tokenizer,
        sequence_length=sequence_length,
        num_lanes=num_lanes,
        seed=seed,
        document_mask=document_mask,
        best_fit_documents=best_fit_documents,
    )


def read_rows(mixture: Mixture, lane: int, num_rows: int) -> tuple[list[Row], list[LaneState]]:
    """Read a lane's first rows and the states after each."""
    rows, states = [], [mixture.initial_state(lane)]
    for _ in range(num_rows):
        row, state = mixture.next_row(lane, states[-1])
        rows.append(row)
        states.append(state)
    return rows, states[1:]
