"""The audit's figures against counts of the rows themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from token_worlds import mixture_of, text_documents, write_shards

from codellama_train.tokens.audit import audit, share_error
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet


def test_figures_are_those_of_the_rows(tokenizer: SentencePieceTokenizer, functions: ShardSet, dialogues: ShardSet):
    sources = {"functions": (0.8, functions), "dialogues": (0.2, dialogues)}
    mixture = mixture_of(tokenizer, sources, sequence_length=512, num_lanes=8, infilling_rate=0.9)
    found = audit(mixture, num_steps=30)
    json.dumps(found)
    assert found["sources"]["functions"]["share"] == pytest.approx(0.8, abs=0.02)
    assert found["restored_documents"]["different"] == []
    documents, infilling = found["documents"], found["infilling"]
    assert sum(documents["by_form"].values()) == documents["begun"]
    asked = documents["begun"] - documents["by_form"]["dialogue"]
    infilled = documents["by_form"]["psm"] + documents["by_form"]["spm"]
    assert infilled + sum(infilling["in_order_because"].values()) == asked
    assert infilling["documents_fraction"] == infilled / asked
    in_order = infilling["in_order_because"]
    eligible = asked - in_order["no_room"] - in_order["inexact"]
    deviation = (0.9 * 0.1 / eligible) ** 0.5
    assert infilled / eligible == pytest.approx(0.9, abs=4 * deviation), "within binomial bounds"
    assert infilling["spm_fraction"] == pytest.approx(0.5, abs=4 * (0.25 / infilled) ** 0.5)
    assert sum(infilling["mean_part_fraction"].values()) == pytest.approx(1, abs=0.02)
    for part in infilling["mean_part_fraction"].values():
        assert part == pytest.approx(1 / 3, abs=4 * 0.24 / infilled**0.5)
    assert 0 < found["padding_tokens_fraction"] < 0.2
    assert found["sources"]["functions"]["inexact_documents_fraction"] == 4 / 160


def test_empty_parts_come_at_their_natural_rate(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    # Two cuts over 0 … n: the smaller is 0, or the larger n, in 2n + 1 of (n + 1)² cases; both are equal in n + 1.
    shards = write_shards(
        tmp_path / "s", tokenizer, text_documents(tokenizer, [f"{number:04}" for number in range(600)])
    )
    mixture = mixture_of(tokenizer, {"s": (1.0, shards)}, sequence_length=512, num_lanes=8, infilling_rate=1.0)
    found = audit(mixture, num_steps=40)
    infilled = found["documents"]["by_form"]["psm"] + found["documents"]["by_form"]["spm"]
    for part, rate in (("prefix", 9 / 25), ("suffix", 9 / 25), ("middle", 5 / 25)):
        assert found["infilling"]["empty_parts"][part] / infilled == pytest.approx(rate, abs=4 * 0.48 / infilled**0.5)


def test_a_source_may_have_a_rate_of_its_own(tokenizer: SentencePieceTokenizer, functions: ShardSet, files: ShardSet):
    mixture = mixture_of(
        tokenizer, {"functions": (0.5, functions), "files": (0.5, files)}, sequence_length=1_024, num_lanes=4
    )
    object.__setattr__(mixture.sources[0], "infilling_rate", 0.9)
    found = audit(mixture, num_steps=20)
    assert found["infilling"]["rate_asked"] == {"functions": 0.9, "files": None}
    assert found["documents"]["by_form"]["psm"] > 0
    assert sum(found["infilling"]["in_order_because"].values()) < found["sources"]["functions"]["documents"]


def test_the_largest_share_error_is_over_windows(tokenizer: SentencePieceTokenizer, functions: ShardSet):
    mixture = mixture_of(tokenizer, {"a": (0.5, functions), "b": (0.5, functions)}, sequence_length=64, num_lanes=2)
    by_step = np.array([[64, 64]] * 10 + [[128, 0]] + [[64, 64]] * 40, dtype=float)
    assert share_error(mixture, by_step) == pytest.approx(100 * 0.5 / 25)
