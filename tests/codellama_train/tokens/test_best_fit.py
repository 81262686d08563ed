"""Best-fit packing: few documents cut, nothing lost, nothing padded, and resumed like everything else."""

from __future__ import annotations

import json
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_worlds import mixture_of, read_rows

from codellama_train.tokens.best_fit import Part, best_fit_rows
from codellama_train.tokens.lane_state import LaneState
from codellama_train.tokens.lanes import Mixture, summarise
from codellama_train.tokens.rows import IGNORED
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet

LENGTH = 100


@pytest.fixture
def mixture(tokenizer: SentencePieceTokenizer, functions: ShardSet, files: ShardSet) -> Mixture:
    sources = {"functions": (0.7, functions), "files": (0.3, files)}
    return mixture_of(tokenizer, sources, sequence_length=256, num_lanes=4, infilling_rate=0.9, best_fit_documents=40)


def parts_of(lengths: list[int]) -> list[Part]:
    return [Part(0, number, 0, length, number, may_infill=True) for number, length in enumerate(lengths)]


@given(st.lists(st.integers(1, LENGTH), max_size=60))
def test_every_part_lands_once_in_a_row_that_holds_it(lengths: list[int]):
    rows = best_fit_rows(parts_of(lengths), LENGTH)
    assert sorted(part.number for row in rows for part in row) == list(range(len(lengths)))
    filled = [sum(part.length for part in row) for row in rows]
    assert all(0 < total <= LENGTH for total in filled)
    assert sum(total <= LENGTH // 2 for total in filled) <= 1, "two half-empty rows would have been one"
    assert all([part.place for part in row] == sorted(part.place for part in row) for row in rows)


def test_length_says_nothing_about_place():
    rng = random.Random(2)
    lengths = [min(round(rng.lognormvariate(2.5, 1.2)) + 2, LENGTH) for _ in range(6_000)]
    windows = [best_fit_rows(parts_of(lengths[start : start + 300]), LENGTH) for start in range(0, 6_000, 300)]
    early = [len(row) for window in windows for row in window[: len(window) // 2]]
    late = [len(row) for window in windows for row in window[len(window) // 2 :]]
    assert np.mean(late) == pytest.approx(np.mean(early), rel=0.1)


def test_a_part_goes_where_the_least_room_is_left():
    rows = best_fit_rows(parts_of([70, 50, 29, 45]), LENGTH)
    assert [[part.length for part in row] for row in rows] == [[70, 29], [50, 45]]


def test_documents_that_fit_are_cut_only_to_fill_gaps(mixture: Mixture, tokenizer: SentencePieceTokenizer):
    plain = Mixture(
        mixture.sources,
        tokenizer=tokenizer,
        sequence_length=256,
        num_lanes=4,
        seed=mixture.seed,
        best_fit_documents=None,
    )
    cut, infilled = [], []
    for each in (mixture, plain):
        segments = [segment for lane in range(4) for row in read_rows(each, lane, 120)[0] for segment in row.segments]
        fitting = [segment for segment in segments if segment.length <= 256 and segment.offset == 0]
        cut.append(sum(not segment.is_whole for segment in fitting) / len(fitting))
        infilled.append(sum(segment.form in ("psm", "spm") for segment in segments) / len(fitting))
    assert cut[0] < 0.4 * cut[1]
    assert infilled[0] > infilled[1]


def test_rows_are_full_and_every_label_is_the_next_token(mixture: Mixture, tokenizer: SentencePieceTokenizer):
    rows, states = read_rows(mixture, 2, 150)
    counted = np.zeros(2, dtype=int)
    for row, state in zip(rows, states, strict=True):
        assert (row.labels[:-1] == row.input_ids[1:]).all()
        last = row.segments[-1]
        assert last.stop == 256
        assert row.labels[-1] != IGNORED
        assert (row.labels[-1] == tokenizer.bos_id) == last.ends_document
        counted += np.bincount(row.source, minlength=2)
        assert state.tokens == tuple(counted)
    origins = [segment.origin for row in rows for segment in row.segments if segment.offset == 0]
    assert len(origins) == len(set(origins)) == sum(states[-1].documents)


def test_a_cut_documents_parts_come_in_order(mixture: Mixture):
    rows, _ = read_rows(mixture, 1, 150)
    offsets: dict[object, list[tuple[int, int]]] = {}
    for segment in (segment for row in rows for segment in row.segments):
        offsets.setdefault(segment.origin, []).append((segment.offset, segment.offset + segment.stop - segment.start))
    parts = [spans for spans in offsets.values() if len(spans) > 1]
    assert parts
    for spans in parts:
        assert spans[0][0] == 0
        assert all(before[1] == after[0] for before, after in pairwise(spans))


@settings(max_examples=25, deadline=None)
@given(stop=st.integers(0, 100), lane=st.integers(0, 3))
def test_a_lane_goes_on_from_any_row_of_a_window(
    tokenizer: SentencePieceTokenizer, functions: ShardSet, files: ShardSet, stop: int, lane: int
):
    def fresh() -> Mixture:
        sources = {"functions": (0.7, functions), "files": (0.3, files)}
        return mixture_of(
            tokenizer, sources, sequence_length=128, num_lanes=4, infilling_rate=0.9, best_fit_documents=15
        )

    mixture = fresh()
    rows, states = read_rows(mixture, lane, 102)
    assert any(state.window for state in states)
    assert any(state.window is None for state in states)
    stored = json.dumps([mixture.initial_state(lane), *states][stop].as_json())
    row, state = fresh().next_row(lane, LaneState.from_json(json.loads(stored)))
    assert state == states[stop]
    np.testing.assert_array_equal(row.input_ids, rows[stop].input_ids)
    np.testing.assert_array_equal(row.labels, rows[stop].labels)


def test_shares_hold(mixture: Mixture):
    states = [read_rows(mixture, lane, 400)[1][-1] for lane in range(4)]
    tokens = summarise(mixture, states)["tokens_by_source"]
    assert tokens["functions"] / sum(tokens.values()) == pytest.approx(0.7, abs=0.02)
