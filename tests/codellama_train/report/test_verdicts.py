"""Verdicts follow from intervals alone."""

from __future__ import annotations

import pytest

from codellama_train.evaluation.statistics import Interval
from codellama_train.report.comparisons import Measured
from codellama_train.report.verdicts import Verdict, judge_gain, judge_share, judge_small_cost


def measured(low, high, **more):
    return Measured(Interval((low + high) / 2, low, high), 10, "documents", **more)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.3, Verdict.SHOWS),
        (-0.1, 0.3, Verdict.UNCLEAR),
        (0.0, 0.3, Verdict.UNCLEAR),
        (0.0, 0.0, Verdict.UNCLEAR),
        (-0.3, -0.1, Verdict.OPPOSITE),
    ],
)
def test_a_gain_shows_when_its_interval_is_above_zero(low, high, verdict):
    assert judge_gain(measured(low, high)) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.03, Verdict.SHOWS),
        (-0.3, -0.1, Verdict.SHOWS),
        (0.01, 0.1, Verdict.UNCLEAR),
        (0.09, 0.1, Verdict.OPPOSITE),
    ],
)
def test_a_cost_is_small_below_two_percent_of_the_loss(low, high, verdict):
    assert judge_small_cost(measured(low, high, level=4.0)) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.3, 0.4, Verdict.SHOWS), (0.1, 0.4, Verdict.UNCLEAR), (0.0, 0.05, Verdict.OPPOSITE)],
)
def test_a_share_shows_when_its_interval_is_above_the_others(low, high, verdict):
    assert judge_share(measured(low, high, against=Interval(0.15, 0.1, 0.2))) == verdict
