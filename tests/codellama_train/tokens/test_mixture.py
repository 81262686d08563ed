from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_worlds import identify, mixture_of, write_shards

from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.mixture import starting_credits
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet, TokenizedDocument

SHARES = {"code": 0.85, "related": 0.08, "language": 0.07}  # table 1


def shards_of_lengths(folder: Path, tokenizer: SentencePieceTokenizer, lengths: list[int]) -> ShardSet:
    documents = (
        TokenizedDocument(identify(f"{folder.name} {number}"), np.full(length, 300), is_exact=True)
        for number, length in enumerate(lengths)
    )
    return write_shards(folder, tokenizer, documents)


@pytest.fixture(scope="module")
def many_lanes(tokenizer: SentencePieceTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    """The paper's mixture and batch at a sixteenth of its lengths: files of log-normal length, median 69 tokens."""
    rng = np.random.default_rng(2)
    folder = tmp_path_factory.mktemp("shards")
    sources = {
        name: (share, shards_of_lengths(folder / name, tokenizer, np.exp(rng.normal(4.23, 1.0, 3_000)).astype(int)))
        for name, share in SHARES.items()
    }
    return mixture_of(tokenizer, sources, sequence_length=256, num_lanes=1_024)


@pytest.fixture(scope="module")
def tokens_read(many_lanes: Mixture) -> np.ndarray:
    """Tokens read so far, of shape (step, lane, source), step 0 being the start."""
    states = [many_lanes.initial_state(lane) for lane in range(1_024)]
    read = [[state.tokens for state in states]]
    for _ in range(40):
        states = [many_lanes.next_row(lane, state)[1] for lane, state in enumerate(states)]
        read.append([state.tokens for state in states])
    return np.array(read)


def test_the_first_step_already_holds_the_shares(tokens_read: np.ndarray):
    shares = tokens_read[1].sum(axis=0) / tokens_read[1].sum()
    np.testing.assert_allclose(shares, list(SHARES.values()), atol=0.012)


def test_any_25_steps_hold_the_shares_within_half_a_point(tokens_read: np.ndarray):
    totals = tokens_read.sum(axis=1)
    for start in range(16):
        window = totals[start + 25] - totals[start]
        np.testing.assert_allclose(window / window.sum(), list(SHARES.values()), atol=0.005)


def test_no_source_is_behind_by_more_than_the_longest_document(many_lanes: Mixture, tokens_read: np.ndarray):
    longest = max(source.shards.manifest["longest_document"] for source in many_lanes.sources)
    shares = np.array(many_lanes.shares)
    # A lane may start owing up to one longest document, and that is paid within it.
    owed = np.array([starting_credits(lane, shares=shares, span=many_lanes.stagger_span) for lane in range(1_024)])
    clock = tokens_read.sum(axis=2, keepdims=True) - owed.sum(axis=1)[None, :, None]
    deficits = shares * clock - (tokens_read - owed)
    assert deficits.max() <= longest


@settings(max_examples=40, deadline=None)
@given(
    shares=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    lengths=st.lists(st.lists(st.integers(0, 90), min_size=1, max_size=8).filter(any), min_size=5, max_size=5),
    lane=st.integers(0, 5),
)
def test_every_source_keeps_pace_within_half_documents(
    tokenizer: SentencePieceTokenizer, tmp_path_factory: pytest.TempPathFactory, shares, lengths, lane
):
    folder = tmp_path_factory.mktemp("shards")
    sources = {
        str(index): (share / sum(shares), shards_of_lengths(folder / str(index), tokenizer, lengths[index]))
        for index, share in enumerate(shares)
    }
    mixture = mixture_of(tokenizer, sources, sequence_length=16, num_lanes=6)
    halves = np.array([shards.manifest["longest_document"] / 2 + 1 for _, shards in sources.values()])
    weights = np.array(mixture.shares)
    bound = halves * (1 - weights) + weights * (halves.sum() - halves)
    owed = np.array(starting_credits(lane, shares=mixture.shares, span=mixture.stagger_span))
    state = mixture.initial_state(lane)
    for _ in range(60):
        _, state = mixture.next_row(lane, state)
        tokens = np.array(state.tokens) - owed
        deficits = weights * tokens.sum() - tokens
        assert (deficits <= np.maximum(bound, owed * (1 - weights)) + 1e-6).all()


@pytest.mark.parametrize("num_lanes", [1, 7, 64, 1_024])
def test_starting_credits_follow_the_shares_and_cancel(num_lanes: int):
    shares = list(SHARES.values())
    owed = np.array([starting_credits(lane, shares=shares, span=100.0) for lane in range(num_lanes)])
    assert ((owed > 0).sum(axis=1) == 1).all()
    assert owed.max() <= 100
    counts = (owed > 0).sum(axis=0)
    np.testing.assert_allclose(counts, num_lanes * np.array(shares), atol=2)
    ahead = owed.sum(axis=0) - np.array(shares) * owed.sum()
    assert np.abs(ahead).max() <= 200, "what all lanes together owe a source is a few documents, however many lanes"


@pytest.mark.parametrize(("num_documents", "num_lanes"), [(50, 8), (5, 8), (1, 4), (64, 8)])
def test_all_lanes_together_draw_each_document_once_per_epoch(
    tokenizer: SentencePieceTokenizer, tmp_path: Path, num_documents: int, num_lanes: int
):
    shards = shards_of_lengths(tmp_path / "s", tokenizer, [3] * num_documents)
    order = mixture_of(tokenizer, {"s": (1.0, shards)}, sequence_length=8, num_lanes=num_lanes).orders[0]
    draws = [order.draw(lane, number) for number in range(3 * num_documents) for lane in range(num_lanes)]
    by_epoch = [[draw.document for draw in draws if draw.epoch == epoch] for epoch in range(3)]
    assert all(sorted(documents) == list(range(num_documents)) for documents in by_epoch)
    assert [draw.epoch for draw in draws] == sorted(draw.epoch for draw in draws)


def test_lanes_that_read_two_epochs_have_read_each_document_about_twice(
    tokenizer: SentencePieceTokenizer, tmp_path: Path
):
    rng = np.random.default_rng(1)
    lengths = np.exp(rng.normal(3.0, 0.8, 2_000)).astype(int)
    shards = shards_of_lengths(tmp_path / "s", tokenizer, list(lengths))
    mixture = mixture_of(tokenizer, {"s": (1.0, shards)}, sequence_length=128, num_lanes=16)
    num_rows = round(2.03 * (lengths + 2).sum() / (16 * 128))
    times: Counter[int] = Counter()
    for lane in range(16):
        state = mixture.initial_state(lane)
        for _ in range(num_rows):
            _, state = mixture.next_row(lane, state)
        times.update(mixture.orders[0].draw(lane, number).document for number in range(state.documents[0]))
    assert len(times) == 2_000
    assert sum(times.values()) == pytest.approx(2.03 * 2_000, rel=0.01)
    assert sum(count in (2, 3) for count in times.values()) > 0.9 * 2_000


def test_two_sources_of_the_same_documents_have_orders_of_their_own(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    shards = shards_of_lengths(tmp_path / "s", tokenizer, [3] * 40)
    mixture = mixture_of(tokenizer, {"code": (0.5, shards), "python": (0.5, shards)}, sequence_length=8, num_lanes=2)
    code, python = ([order.at(place).document for place in range(40)] for order in mixture.orders)
    assert code != python
