"""Functions, prose and dialogues made up by number, and shards of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path

from codellama_train.tokens.dialogue import Message, encode_dialogue
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardWriter, TokenizedDocument

WORDS = ("value", "index", "total", "name", "item", "count", "path", "line", "text", "key")


def function_text(number: int) -> str:
    """A short Python function, different for each number."""
    rng = random.Random(number)
    name, first, second = (rng.choice(WORDS) for _ in range(3))
    body = f"    {second} = {first} + {rng.randrange(100)}\n" * rng.randrange(1, 6)
    return f"def {name}_{number}({first}):\n{body}\n    return {second}\n"


def prose(number: int) -> str:
    """A few sentences with characters of several bytes."""
    rng = random.Random(number)
    return f"The {rng.choice(WORDS)} naïvely holds the {rng.choice(WORDS)} — {number} times.\n"


def write_documents(
    data: Path, source: str, tokenizer: SentencePieceTokenizer, texts: Iterable[str], *, split: str = "held_out"
) -> None:
    """Write a source's shards."""
    with shard_writer(data, source, "documents", tokenizer, split=split) as writer:
        for text in texts:
            ids = tokenizer.encode(text)
            writer.add(TokenizedDocument(identify(text), ids, is_exact=tokenizer.decode(ids) == text))


def write_dialogues(data: Path, tokenizer: SentencePieceTokenizer) -> None:
    """Write held-out dialogues: a request for each function."""
    with shard_writer(data, "dialogues", "dialogues", tokenizer) as writer:
        for number in range(10):
            answer = function_text(number)
            ids, predicted = encode_dialogue(
                tokenizer, [Message("user", f"Write {prose(number)}"), Message("assistant", answer)]
            )
            writer.add(TokenizedDocument(identify(answer), ids, is_exact=True, predicted=predicted))


def shard_writer(
    data: Path, source: str, kind: str, tokenizer: SentencePieceTokenizer, *, split: str = "held_out"
) -> ShardWriter:
    return ShardWriter(
        data / "shards" / source / split,
        kind="dialogues" if kind == "dialogues" else "documents",
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocabulary_size=tokenizer.vocabulary_size,
        facts={"source": source},
    )


def identify(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]
