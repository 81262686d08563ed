from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_worlds import mixture_of, read_rows, text_documents, write_shards

from codellama_train.tokens.infilling import drawn_mode, falls_to_infilling, infilled_document, uniform_cuts
from codellama_train.tokens.lane_state import Carried, LaneState
from codellama_train.tokens.lanes import Mixture, summarise
from codellama_train.tokens.randomness import RandomKey
from codellama_train.tokens.restoration import restore_document
from codellama_train.tokens.rows import IGNORED, Row
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet


def stream_of(mixture: Mixture, rows: list[Row]) -> list[tuple[int, int, bool, bool, int]]:
    """Join rows into (token, source, infilled, predicted, row), padding left out."""
    input_ids, labels, source, infilled = (
        np.concatenate([getattr(row, name) for row in rows]) for name in ("input_ids", "labels", "source", "infilled")
    )
    predicted = np.concatenate(([False], labels[:-1] != IGNORED))
    assert (labels[:-1] == np.where(predicted[1:], input_ids[1:], IGNORED)).all(), "a label is the next token"
    is_dialogue = np.array([each.is_dialogues for each in mixture.sources])[source]
    is_padding = is_dialogue & (input_ids == mixture.tokenizer.eos_id) & ~predicted  # a dialogue's own is predicted
    return [
        (
            int(input_ids[index]),
            int(source[index]),
            bool(infilled[index]),
            bool(predicted[index]),
            index // mixture.sequence_length,
        )
        for index in np.flatnonzero(~is_padding).tolist()
    ]


def check_stream(mixture: Mixture, lane: int, rows: list[Row]) -> list[int]:
    """Demand that a lane's rows are exactly its drawn documents, one after another; return how many of each source.

    The plain reference of the data order: whole documents, no rows, no state.
    """
    stream = stream_of(mixture, rows)
    drawn = [0] * len(mixture.sources)
    position, after_dialogue = 0, True  # the very first token is no label either
    while position < len(stream):
        index = stream[position][1]
        shards, tokenizer = mixture.sources[index].shards, mixture.tokenizer
        document, epoch = mixture.orders[index].draw(lane, drawn[index])
        drawn[index] += 1
        is_infilled = stream[position][2]
        ids = shards.ids(document).tolist()
        if shards.kind == "dialogues":
            expected, predicted = ids, shards.predicted(document).tolist()
        else:
            expected = [tokenizer.bos_id, *ids, tokenizer.eos_id]
            if is_infilled:
                key = RandomKey(mixture.seed, shards.document_id(document), epoch)
                assert shards.is_exact(document)
                assert falls_to_infilling(key, mixture.sources[index].infilling_rate or 0)
                text = tokenizer.decode(ids)
                first, second = uniform_cuts(key, len(text))
                parts = text[:first], text[first:second], text[second:]
                expected = infilled_document(tokenizer, *parts, drawn_mode(key))
                length = len(expected)
                assert stream[position][-1] == stream[position + length - 1][-1], "no context boundary cuts it"
            predicted = [not after_dialogue] + [True] * (len(expected) - 1)
        part = stream[position : position + len(expected)]
        assert [token for token, *_ in part] == expected[: len(part)]
        assert all((source, infilled) == (index, is_infilled) for _, source, infilled, *_ in part)
        assert [each[3] for each in part] == predicted[: len(part)]
        position += len(expected)
        after_dialogue = shards.kind == "dialogues"
    return drawn


@pytest.mark.parametrize("infilling_rate", [None, 0.9])
@pytest.mark.parametrize("sequence_length", [1, 7, 64, 512])
def test_rows_are_the_drawn_documents_one_after_another(
    tokenizer: SentencePieceTokenizer, functions: ShardSet, files: ShardSet, sequence_length: int, infilling_rate
):
    mixture = mixture_of(
        tokenizer,
        {"functions": (0.6, functions), "files": (0.4, files)},
        sequence_length=sequence_length,
        num_lanes=16,
        infilling_rate=infilling_rate,
    )
    for lane in (0, 3, 15):
        rows, states = read_rows(mixture, lane, max(20, 6_000 // sequence_length))
        assert tuple(check_stream(mixture, lane, rows)) == states[-1].documents
        assert sum(states[-1].tokens) == len(rows) * sequence_length
        for index in range(2):
            of_source = np.concatenate([row.source for row in rows]) == index
            infilled = np.concatenate([row.infilled for row in rows]) & of_source
            assert states[-1].tokens[index] == of_source.sum()
            assert states[-1].infilled_tokens[index] == infilled.sum()
        every_label = np.concatenate([row.labels for row in rows])
        assert (every_label != IGNORED).all(), "every token but the lane's first is predicted once"


@pytest.mark.parametrize("sequence_length", [5, 64, 200])
def test_dialogues_keep_whole_and_predict_answers_only(
    tokenizer: SentencePieceTokenizer, functions: ShardSet, dialogues: ShardSet, sequence_length: int
):
    sources = {"dialogues": (0.7, dialogues), "functions": (0.3, functions)}
    mixture = mixture_of(tokenizer, sources, sequence_length=sequence_length, num_lanes=4, infilling_rate=0.9)
    num_cut = 0
    for lane in range(4):
        rows, states = read_rows(mixture, lane, 8_000 // sequence_length)
        assert tuple(check_stream(mixture, lane, rows)) == states[-1].documents
        assert sum(states[-1].tokens) > 0.5 * len(rows) * sequence_length, "the rest is padding"
        for before, after in pairwise([mixture.initial_state(lane), *states]):
            if after.carried is None or after.carried.source != 0 or before.carried == after.carried:
                continue
            num_cut += 1
            document = mixture.orders[0].draw(lane, after.carried.number).document
            assert dialogues.length(document) > sequence_length, "a dialogue that fits a row is never cut"
            assert after.carried.offset % sequence_length == 0, "and a longer one starts a row"
    assert (num_cut > 0) == (dialogues.manifest["longest_document"] > sequence_length)


def test_a_row_after_whose_end_a_dialogue_comes_predicts_nothing_there(
    tokenizer: SentencePieceTokenizer, dialogues: ShardSet
):
    mixture = mixture_of(tokenizer, {"dialogues": (1.0, dialogues)}, sequence_length=64, num_lanes=2)
    rows, states = read_rows(mixture, 0, 60)
    ends = [row.labels[-1] for row, state in zip(rows, states, strict=True) if state.carried is None]
    assert ends
    assert set(ends) == {IGNORED}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**40), lane=st.integers(0, 4), stop=st.integers(0, 30))
def test_a_lane_goes_on_from_any_state_as_if_never_stopped(
    tokenizer: SentencePieceTokenizer, functions: ShardSet, files: ShardSet, dialogues: ShardSet, seed, lane, stop
):
    sources = {"functions": (0.5, functions), "files": (0.2, files), "dialogues": (0.3, dialogues)}
    mixture = mixture_of(tokenizer, sources, sequence_length=48, num_lanes=5, infilling_rate=0.9, seed=seed)
    rows, states = read_rows(mixture, lane, 32)
    stored = json.dumps(([mixture.initial_state(lane), *states][stop]).as_json())
    again = mixture_of(tokenizer, sources, sequence_length=48, num_lanes=5, infilling_rate=0.9, seed=seed)
    row, state = again.next_row(lane, LaneState.from_json(json.loads(stored)))
    assert state == states[stop]
    for name in ("input_ids", "labels", "source", "infilled"):
        np.testing.assert_array_equal(getattr(row, name), getattr(rows[stop], name))


def test_a_state_survives_json():
    state = LaneState((3, 1), (40, 9), (2, 0), (31, 0), Carried(source=1, number=0, offset=9))
    assert LaneState.from_json(json.loads(json.dumps(state.as_json()))) == state
    between = LaneState((0,), (0,), (0,), (0,), None)
    assert LaneState.from_json(json.loads(json.dumps(between.as_json()))) == between


def test_nine_tenths_of_what_fits_is_infilled(tokenizer: SentencePieceTokenizer, functions: ShardSet):
    mixture = mixture_of(tokenizer, {"f": (1.0, functions)}, sequence_length=4_096, num_lanes=1, infilling_rate=0.9)
    rows, states = read_rows(mixture, 0, 60)
    summary = summarise(mixture, states[-1:])
    inexact = functions.manifest["inexact_documents"] / functions.num_documents
    # All but the last document of each row fit, as these are short.
    fitting = 1 - len(rows) / states[-1].documents[0]
    assert summary["infilled_documents_fraction"] == pytest.approx(0.9 * (1 - inexact) * fitting, abs=0.02)
    assert summary["epochs_by_source"]["f"] == states[-1].documents[0] / functions.num_documents
    bodies = np.concatenate([row.input_ids for row in rows]).tolist()
    pairs = list(pairwise(bodies))
    spm = pairs.count((tokenizer.sentinels.prefix, tokenizer.sentinels.suffix))
    assert spm / bodies.count(tokenizer.sentinels.prefix) == pytest.approx(0.5, abs=0.04)


def test_a_second_epoch_sees_other_cuts(tokenizer: SentencePieceTokenizer, functions: ShardSet):
    mixture = mixture_of(tokenizer, {"f": (1.0, functions)}, sequence_length=8_192, num_lanes=1, infilling_rate=1.0)
    rows, _ = read_rows(mixture, 0, 8)
    seen: dict[str, set[tuple[int, ...]]] = {}
    for row in rows:
        for segment in row.segments:
            if segment.form in ("psm", "spm"):
                ids = tuple(row.input_ids[segment.start : segment.stop].tolist())
                seen.setdefault(restore_document(tokenizer, ids, segment.form), set()).add(ids)
    forms = [len(documents) for text, documents in seen.items() if len(text) > 50]
    assert np.mean(forms) > 1.5


def test_documents_that_do_not_come_back_stay_in_order(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    texts = [f"sep_{number} = '▁'" for number in range(30)]
    shards = write_shards(tmp_path / "s", tokenizer, text_documents(tokenizer, texts))
    mixture = mixture_of(tokenizer, {"s": (1.0, shards)}, sequence_length=256, num_lanes=2, infilling_rate=1.0)
    rows, states = read_rows(mixture, 0, 5)
    assert shards.manifest["inexact_documents"] == 30
    assert states[-1].infilled_documents == (0,)
    assert not any(row.infilled.any() for row in rows)


def test_the_summary_counts_all_lanes_and_no_dialogues(
    tokenizer: SentencePieceTokenizer, functions: ShardSet, dialogues: ShardSet
):
    sources = {"functions": (0.5, functions), "dialogues": (0.5, dialogues)}
    mixture = mixture_of(tokenizer, sources, sequence_length=128, num_lanes=3, infilling_rate=0.9)
    states = [read_rows(mixture, lane, 10)[1][-1] for lane in range(3)]
    summary = summarise(mixture, states)
    documents, infilled = (
        [sum(getattr(state, name)[index] for state in states) for index in range(2)]
        for name in ("documents", "infilled_documents")
    )
    assert summary["epochs_by_source"] == {"functions": documents[0] / 160, "dialogues": documents[1] / 21}
    assert summary["infilled_documents_fraction"] == infilled[0] / documents[0]
    assert infilled[1] == 0
    json.dumps(summary)


def test_without_infilling_there_are_no_rates(tokenizer: SentencePieceTokenizer, functions: ShardSet):
    mixture = mixture_of(tokenizer, {"f": (1.0, functions)}, sequence_length=64, num_lanes=2)
    summary = summarise(mixture, [read_rows(mixture, 0, 3)[1][-1]])
    assert summary["infilled_documents_fraction"] is None
    assert summary["infilled_tokens_fraction"] is None
