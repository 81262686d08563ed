from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from token_worlds import dialogue_documents, identify, text_documents, write_shards

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet, ShardWriter, TokenizedDocument, dtype_for


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=st.lists(st.lists(st.integers(0, 655), max_size=12), min_size=1, max_size=30), size=st.integers(1, 40))
def test_documents_come_back_from_any_number_of_shards(
    tokenizer: SentencePieceTokenizer, tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], size: int
):
    assume(any(documents))
    stored = [TokenizedDocument(identify(str(n)), ids, is_exact=n % 3 > 0) for n, ids in enumerate(documents)]
    shards = write_shards(tmp_path_factory.mktemp("shards") / "s", tokenizer, stored, tokens_per_shard=size)
    assert shards.num_documents == len(documents)
    assert shards.num_tokens == sum(map(len, documents))
    assert shards.manifest["longest_document"] == max(map(len, documents))
    assert shards.manifest["inexact_documents"] == sum(not document.is_exact for document in stored)
    for number, document in enumerate(stored):
        assert shards.ids(number).tolist() == document.ids
        assert shards.length(number) == len(document.ids)
        assert shards.document_id(number) == document.document_id
        assert shards.is_exact(number) == document.is_exact
    shortest = min(map(len, documents))
    assert [shards.has_document_within(shortest + more) for more in (-1, 0, 1)] == [False, True, True]
    with pytest.raises(IndexError):
        shards.ids(len(documents))


def test_dialogues_say_what_is_predicted(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    stored = list(dialogue_documents(tokenizer, [[("a", "b")], [("c", "d"), ("e", "f g")]]))
    shards = write_shards(tmp_path / "dialogues", tokenizer, stored, kind="dialogues")
    for number, document in enumerate(stored):
        assert shards.ids(number).tolist() == document.ids
        assert shards.predicted(number).tolist() == document.predicted


def test_a_file_that_does_not_come_back_is_marked(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    shards = write_shards(tmp_path / "s", tokenizer, text_documents(tokenizer, ["x = 1", "sep = '▁'", "y"]))
    assert [shards.is_exact(number) for number in range(3)] == [True, False, True]
    assert shards.manifest["inexact_documents"] == 1
    assert shards.manifest["inexact_by_cause"] == {"holds_metaspace": 1}


@pytest.mark.parametrize("name", ["00000.tokens", "00000.ends", "00000.ids", "00000.exact"])
def test_a_corrupted_file_is_found(tokenizer: SentencePieceTokenizer, tmp_path: Path, name: str):
    shards = write_shards(tmp_path / "s", tokenizer, text_documents(tokenizer, ["x = 1", "y = 2"]))
    shards.verify()
    path = tmp_path / "s" / name
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 2] ^= 1
    path.write_bytes(stored)
    with pytest.raises(artifacts.CorruptArtifact, match=name):
        shards.verify()


@pytest.mark.parametrize("name", ["00000.tokens", "00000.ends", "00000.ids", "00000.exact"])
def test_a_truncated_file_is_found_when_it_is_read(tokenizer: SentencePieceTokenizer, tmp_path: Path, name: str):
    write_shards(tmp_path / "s", tokenizer, text_documents(tokenizer, ["x = 1", "y = 2"]))
    path = tmp_path / "s" / name
    path.write_bytes(path.read_bytes()[:-1])
    shards = ShardSet(tmp_path / "s")
    with pytest.raises(artifacts.CorruptArtifact, match=rf"{name} does not have the \d+ bytes that its manifest says"):
        (shards.ids(1), shards.document_id(1), shards.is_exact(1))
    with pytest.raises(artifacts.CorruptArtifact, match=name):
        shards.verify()
    path.unlink()
    with pytest.raises(artifacts.CorruptArtifact, match=name):
        (shards.ids(1), shards.document_id(1), shards.is_exact(1))


@pytest.mark.parametrize(
    ("ends", "complaint"),
    [([3, 7], r"ends at token 7, its shard at 6"), ([9, 6], "documents that end before they begin")],
)
def test_ends_that_disagree_with_the_tokens_are_found(
    tokenizer: SentencePieceTokenizer, tmp_path: Path, ends: list[int], complaint: str
):
    documents = [TokenizedDocument(identify(name), [1, 2, 3], is_exact=True) for name in "ab"]
    write_shards(tmp_path / "s", tokenizer, documents)
    (tmp_path / "s" / "00000.ends").write_bytes(np.array(ends, dtype="<u8").tobytes())
    manifest = artifacts.read_json(tmp_path / "s" / "manifest.json")
    del manifest["files"]
    artifacts.write_manifest(tmp_path / "s", manifest)
    with pytest.raises(artifacts.CorruptArtifact, match=rf"00000\.ends .*{complaint}|00000\.ends {complaint}"):
        ShardSet(tmp_path / "s").verify()


@pytest.mark.parametrize("ids", [[656], [3, 70_000], [-1, 5], [1 << 40], [1 << 70], np.array([656], np.uint32)])
def test_ids_of_another_tokenizer_are_refused(tokenizer: SentencePieceTokenizer, tmp_path: Path, ids: list[int]):
    document = TokenizedDocument(identify("x"), ids, is_exact=True)
    with pytest.raises(UserError, match=r"document 2d711642\w+ for .* holds the id .*, but .* are 0 to 655; encode it"):
        write_shards(tmp_path / "s", tokenizer, [document])
    assert not (tmp_path / "s" / "manifest.json").exists()


def test_unfinished_shards_are_refused(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    writer = ShardWriter(
        tmp_path / "s",
        kind="documents",
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocabulary_size=tokenizer.vocabulary_size,
        facts={},
    )
    with pytest.raises(KeyboardInterrupt), writer:
        writer.add(TokenizedDocument(identify("x"), [1, 2], is_exact=True))
        raise KeyboardInterrupt
    with pytest.raises(UserError, match="no finished shards"):
        ShardSet(tmp_path / "s")


def test_shards_without_documents_are_refused(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    with pytest.raises(UserError, match="hold no documents"):
        write_shards(tmp_path / "s", tokenizer, [])


def test_shards_without_tokens_are_refused(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    with pytest.raises(UserError, match="hold 2 documents without a single token; leave this source out"):
        write_shards(tmp_path / "s", tokenizer, text_documents(tokenizer, ["", ""]))


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    artifacts.write_manifest(tmp_path, {"stage": "shards", "shards": {}})
    with pytest.raises(UserError, match="no finished shards"):
        ShardSet(tmp_path)


def test_shards_of_another_tokenizer_are_refused(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    shards = write_shards(tmp_path / "s", tokenizer, text_documents(tokenizer, ["x"]))
    shards.require_tokenizer(tokenizer.fingerprint, tokenizer.vocabulary_size)
    with pytest.raises(UserError, match="prepare the data again with the model's tokenizer"):
        shards.require_tokenizer("f" * 64, 32_016)


def test_ids_of_32_bits_are_used_where_needed():
    assert dtype_for(65_536) == np.dtype("<u2")
    assert dtype_for(65_537) == np.dtype("<u4")
