"""A shard set without some documents: all others as they were, files that hold none the very same ones."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from token_worlds import identify, write_shards

from codellama_train.tokens import shard_removal
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shard_removal import shards_that_hold, write_without
from codellama_train.tokens.shards import ShardKind, ShardSet, TokenizedDocument

import numpy as np  # isort: skip


def contents_of(shards: ShardSet) -> list[tuple[bytes, list[int], bool, list[bool] | None]]:
    return [
        (
            shards.document_id(number),
            shards.ids(number).tolist(),
            shards.is_exact(number),
            shards.predicted(number).tolist() if shards.kind == "dialogues" else None,
        )
        for number in range(shards.num_documents)
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 6), min_size=2, max_size=25),
    drops=st.sets(st.integers(0, 24)),
    kind=st.sampled_from(["documents", "dialogues"]),
    per_shard=st.integers(1, 30),
)
def test_what_stays_is_what_was(
    tokenizer: SentencePieceTokenizer,
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    drops: set[int],
    kind: ShardKind,
    per_shard: int,
):
    lengths = [1, *lengths]  # document 0 stays, so that something is left to read
    rng = random.Random(str(lengths))
    stored = []
    for number, length in enumerate(lengths):
        ids, is_exact = [rng.randrange(600) for _ in range(length)], rng.random() < 0.7
        predicted = [rng.random() < 0.5 for _ in ids] if kind == "dialogues" else None
        stored.append(TokenizedDocument(identify(str(number)), ids, is_exact, predicted))
    folder = tmp_path_factory.mktemp("removal")
    before = write_shards(folder / "old", tokenizer, stored, kind=kind, tokens_per_shard=per_shard)
    dropped = np.array([number - 1 in drops for number in range(len(lengths))])
    inexact = sum(not each.is_exact for each, gone in zip(stored, dropped, strict=True) if not gone)
    write_without(before, dropped, folder / "new", inexact_by_cause={"other": inexact} if inexact else {})
    after = ShardSet(folder / "new")
    after.verify()
    kept = [number for number in range(len(lengths)) if not dropped[number]]
    assert contents_of(after) == [contents_of(before)[number] for number in kept]
    assert after.num_tokens == sum(lengths[number] for number in kept)
    assert after.manifest["longest_document"] == max(lengths[number] for number in kept)
    assert after.manifest["inexact_documents"] == inexact
    same = {key: value for key, value in before.manifest.items() if key in ("tokenizer", "source", "dtype", "kind")}
    assert {key: after.manifest[key] for key in same} == same
    changed = shards_that_hold(before, dropped)
    for path in (folder / "old").glob("0*"):
        is_same_file = path.samefile(folder / "new" / path.name)
        assert is_same_file == (int(path.stem) not in changed), path


def test_without_hard_links_files_are_copied(tokenizer: SentencePieceTokenizer, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(shard_removal.os, "link", refuse)
    stored = [TokenizedDocument(identify(str(number)), [number, 5], is_exact=True) for number in range(4)]
    before = write_shards(tmp_path / "old", tokenizer, stored, tokens_per_shard=4)
    write_without(before, np.array([True, False, False, False]), tmp_path / "new", inexact_by_cause={})
    after = ShardSet(tmp_path / "new")
    after.verify()
    assert contents_of(after) == contents_of(before)[1:]
