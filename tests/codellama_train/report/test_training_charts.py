"""Held-out loss beside the training curve."""

from __future__ import annotations

import pytest

from codellama_train.report.pipeline import Pipeline, Run
from codellama_train.report.training_charts import ON_CIRCLES, loss_curves, validation_points

SOURCES = {"code": {"share": 0.75}, "language": {"share": 0.25}}
HELD_OUT = [None, {"code": 4.0, "language": 6.0, "other": 9.0}, None, {"code": 2.0, "language": None, "other": 9.0}]


def run_of(name, held_out) -> Run:
    records = [
        {"tokens": 1_000_000 * step, "loss": 8.0 / step, "validation_loss_by_source": losses}
        for step, losses in enumerate(held_out, start=1)
    ]
    return Run(name, recipe={"data": {"sources": SOURCES}}, source=None, metrics=records, scores={}, items={})


def test_a_point_is_the_mean_of_known_sources_by_their_shares():
    assert validation_points(run_of("code", HELD_OUT)) == [(2.0, pytest.approx(4.5)), (4.0, 2.0)]


def test_circles_are_explained_where_there_are_any():
    runs = {name: run_of(name, held_out) for name, held_out in (("code", HELD_OUT), ("lora", [None] * 4))}
    pipeline = Pipeline("tiny", runs, data=None)
    both = loss_curves(pipeline, ["code", "lora"], title="Loss", caption="Of two runs.")
    assert both.count("<use ") == 2 + loss_curves(pipeline, ["lora"], title="Loss", caption="").count("<use ")
    assert ON_CIRCLES.strip() in both
    assert ON_CIRCLES.strip() not in loss_curves(pipeline, ["lora"], title="Loss", caption="Of one.")
