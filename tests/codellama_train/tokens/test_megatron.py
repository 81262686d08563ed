"""Megatron's pair of files, against its published layout written by hand, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from token_worlds import dialogue_documents, identify, write_shards

from codellama_train.console import UserError
from codellama_train.tokens import megatron
from codellama_train.tokens.megatron import index_path, open_indexed, tokens_path, write_indexed
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet, ShardWriter, TokenizedDocument

EOS = 2


def shards_of(folder: Path, documents: list[list[int]], *, vocabulary_size: int = 656, per_shard: int = 5) -> ShardSet:
    facts = {"kind": "documents", "tokenizer_fingerprint": "f" * 64, "facts": {}, "tokens_per_shard": per_shard}
    with ShardWriter(folder, vocabulary_size=vocabulary_size, **facts) as writer:
        for number, ids in enumerate(documents):
            writer.add(TokenizedDocument(identify(str(number)), ids, is_exact=True))
    return ShardSet(folder)


def test_the_bytes_are_those_of_the_published_layout(tmp_path: Path):
    """Three documents, the second empty: uint16 tokens with EOS, sequences (3, 2), documents at 0, 1, 1, 2."""
    shards = shards_of(tmp_path / "s", [[7, 8], [], [655]])
    write_indexed(shards, tmp_path / "pair", eos_id=EOS)
    assert tokens_path(tmp_path / "pair").read_bytes() == struct.pack("<5H", 7, 8, EOS, 655, EOS)
    expected = b"MMIDIDX\x00\x00" + struct.pack("<Q", 1) + struct.pack("<B", 8) + struct.pack("<QQ", 2, 4)
    expected += struct.pack("<2i", 3, 2) + struct.pack("<2q", 0, 6) + struct.pack("<4q", 0, 1, 1, 2)
    assert index_path(tmp_path / "pair").read_bytes() == expected
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("vocabulary_size", "code", "letter"), [(65_499, 8, "H"), (65_500, 4, "i"), (128_256, 4, "i")])
def test_the_token_type_is_the_one_megatron_chooses(tmp_path: Path, vocabulary_size: int, code: int, letter: str):
    shards = shards_of(tmp_path / "s", [[1, vocabulary_size - 1]], vocabulary_size=vocabulary_size)
    write_indexed(shards, tmp_path / "pair", eos_id=None)
    assert index_path(tmp_path / "pair").read_bytes()[17] == code
    assert tokens_path(tmp_path / "pair").read_bytes() == struct.pack(f"<2{letter}", 1, vocabulary_size - 1)
    assert open_indexed(tmp_path / "pair").ids(0).tolist() == [1, vocabulary_size - 1]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=st.lists(st.lists(st.integers(3, 655), max_size=9), min_size=1, max_size=30),
    per_shard=st.integers(1, 40),
    block=st.integers(1, 40),
    eos=st.sampled_from([None, EOS]),
)
def test_every_document_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    documents: list[list[int]],
    per_shard: int,
    block: int,
    eos: int | None,
):
    assume(any(documents))
    monkeypatch.setattr(megatron, "TOKENS_PER_BLOCK", block)
    folder = tmp_path_factory.mktemp("pair")
    write_indexed(shards_of(folder / "s", documents, per_shard=per_shard), folder / "p", eos_id=eos)
    indexed = open_indexed(folder / "p")
    ending = [] if eos is None else [eos]
    assert [indexed.ids(number).tolist() for number in range(indexed.num_documents)] == [
        [*ids, *ending] if ids else [] for ids in documents
    ]


def test_a_document_of_several_sequences_is_their_concatenation(tmp_path: Path):
    """What Megatron's tool writes with --split-sentences."""
    pair(tmp_path, tokens=[5, 6, 7, 8], lengths=[1, 2, 1], pointers=[0, 2, 6], bounds=[0, 2, 3])
    indexed = open_indexed(tmp_path / "p")
    assert [indexed.ids(number).tolist() for number in range(2)] == [[5, 6, 7], [8]]


def pair(folder: Path, *, tokens: list[int], lengths: list[int], pointers: list[int], bounds: list[int]) -> None:
    (folder / "p.bin").write_bytes(np.asarray(tokens, "<u2").tobytes())
    header = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, 8, len(lengths), len(bounds))
    columns = (np.asarray(lengths, "<i4"), np.asarray(pointers, "<i8"), np.asarray(bounds, "<i8"))
    (folder / "p.idx").write_bytes(header + b"".join(column.tobytes() for column in columns))


WHOLE = {"tokens": [5, 6, 7], "lengths": [2, 1], "pointers": [0, 4], "bounds": [0, 1, 2]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tokens": [5, 6]}, "sequence 1 lies outside"),
        ({"pointers": [0, -4]}, "sequence 1 lies outside"),  # the overflow of old writers beyond 2 GiB
        ({"bounds": [0, 2, 1]}, "document bounds do not run"),
        ({"bounds": [1, 2]}, "document bounds do not run"),
        ({"bounds": [0, 1]}, "document bounds do not run"),
    ],
)
def test_an_index_of_another_token_file_is_refused(tmp_path: Path, change: dict[str, list[int]], sentence: str):
    pair(tmp_path, **WHOLE | change)
    with pytest.raises(UserError, match=sentence):
        open_indexed(tmp_path / "p")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda index: index[:20], "no Megatron index"),
        (lambda index: b"TNTIDX\0\0\0" + index[9:], "no Megatron index"),
        (lambda index: index[:9] + struct.pack("<Q", 2) + index[17:], "version 2"),
        (lambda index: index[:17] + b"\x07" + index[18:], "token type 7"),
        (lambda index: index[:-1], "it is torn, or of a multimodal"),
        (lambda index: index + b"\0\0", "it is torn, or of a multimodal"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, damage, sentence: str):
    pair(tmp_path, **WHOLE)
    path = tmp_path / "p.idx"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=sentence):
        open_indexed(tmp_path / "p")


def test_dialogues_and_missing_pairs_are_refused(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    stored = list(dialogue_documents(tokenizer, [[("a", "b")]]))
    shards = write_shards(tmp_path / "dialogues", tokenizer, stored, kind="dialogues")
    with pytest.raises(UserError, match="are dialogues, which say of each token whether it is predicted"):
        write_indexed(shards, tmp_path / "pair", eos_id=None)
    with pytest.raises(UserError, match=r"pair\.idx does not exist"):
        open_indexed(tmp_path / "pair")
