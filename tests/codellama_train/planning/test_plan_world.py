"""Plans against what others published: `benchmarks/plan_world.py` shows every row, and those that must agree do."""

from __future__ import annotations

import importlib
import statistics

import pytest


@pytest.fixture
def world(project, monkeypatch):
    monkeypatch.syspath_prepend(project / "benchmarks")
    return importlib.import_module("plan_world")


# A published longest sequence that a plan says does not fit, by 3 %; benchmarks/README.md shows it.
MISSED = {("ArcticTraining, Liger", "1xH200", 300_000)}


def test_a_plan_says_rightly_of_published_settings_whether_they_fit(world):
    wrong = [row for row in world.MEMORIES if not world.is_right(row)]
    assert [row for row in wrong if row.gigabytes is not None] == []
    assert {(row.source, row.devices, row.length) for row in wrong} <= MISSED
    assert {row.fits for row in world.MEMORIES} == {True, False}


def test_memory_is_as_published_for_stacks_of_the_same_kind(world):
    gated = [row for row in world.MEMORIES if row.within is not None]
    ratios = {(row.source, row.length, row.sequences): world.ratio_of(row) for row in gated}
    assert len(ratios) == 7
    assert {key: ratio for key, ratio in ratios.items() if not 0.8 <= ratio <= 1.2} == {}


def test_speed_is_not_far_from_what_was_published(world):
    ratios = [world.foretold_speed(row).tokens_per_second_per_device / row.tokens_per_second for row in world.SPEEDS]
    assert 0.85 <= statistics.median(ratios) <= 1.2
    assert min(ratios) >= 0.6
    assert max(ratios) <= 1.6
