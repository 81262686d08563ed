"""Intervals against distributions whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from codellama_train.evaluation.statistics import paired_difference, ratio, share


def test_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(5, 2, size=400)
    measured = ratio(values, np.ones(400), resamples=4000, seed=0)
    half = 1.96 * values.std() / math.sqrt(400)
    assert measured.value == pytest.approx(values.mean())
    assert measured.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert measured.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_interval_covers_the_truth_nineteen_times_in_twenty():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(300):
        tokens = rng.integers(10, 200, size=60)
        nats = tokens * rng.normal(2.0, 0.3, size=60)
        measured = ratio(nats, tokens, resamples=300, seed=trial)
        covered += measured.low <= 2.0 <= measured.high
    assert 0.89 <= covered / 300 <= 0.99


def test_ratio_weighs_documents_by_their_tokens():
    assert ratio([10, 10], [1, 9], resamples=10, seed=0).value == 2.0


def test_pairing_removes_what_items_share():
    rng = np.random.default_rng(2)
    hardness = rng.normal(0, 50, size=100)
    first, second = hardness + 1 + rng.normal(0, 0.5, 100), hardness + rng.normal(0, 0.5, 100)
    measured = paired_difference(first, second, np.ones(100), resamples=500, seed=0)
    assert 0.7 < measured.low < measured.value < measured.high < 1.3


def test_intervals_repeat_with_their_seed():
    values = list(range(1, 30))
    assert ratio(values, values[::-1], resamples=50, seed=4) == ratio(values, values[::-1], resamples=50, seed=4)
    assert ratio(values, values[::-1], resamples=50, seed=4) != ratio(values, values[::-1], resamples=50, seed=5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 24), (24, 24), (7, 64), (1, 2)])
def test_share_is_wilsons(successes, trials):
    """Wilson's bounds are the shares that lie 1.96 of their own standard errors from what was seen."""
    measured = share(successes, trials)
    assert measured.low <= successes / trials == measured.value <= measured.high
    for bound in (measured.low, measured.high):
        error = math.sqrt(bound * (1 - bound) / trials)
        if error:
            assert abs(bound - measured.value) == pytest.approx(1.959964 * error)
    assert share(0, 24).low == 0
    assert share(24, 24).high == 1
