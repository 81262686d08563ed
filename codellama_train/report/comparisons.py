"""Differences between two models on the same held-out items, with intervals over those items."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from codellama_train.evaluation.statistics import Interval, paired_difference, share
from codellama_train.report.pipeline import Pipeline

RESAMPLES = 2000
GUESSING_A_KEY = Interval(1 / 90, 1 / 90, 1 / 90)  # two digits
SEED = 0


class NotMeasuredError(LookupError):
    """A number that a claim needs does not exist; the message says why."""


@dataclass(frozen=True)
class Measured:
    """A difference or a share, its interval, and on how many items.

    `level` is the lower of the two losses that differ; `against` is what a share is to be compared with.
    """

    interval: Interval
    num_items: int
    item_noun: str
    level: float | None = None
    against: Interval | None = None


def loss_difference(pipeline: Pipeline, worse: str, better: str, source: str) -> Measured:
    """Give nats per token by which `better` is below `worse` on the held-out documents of a source."""
    first, second = _both(pipeline, (worse, better), "loss", source)
    _require_same(first["id"] == second["id"] and first["tokens"] == second["tokens"], worse, better)
    interval = _paired(first["nats"], second["nats"], first["tokens"])
    return Measured(interval, len(first["id"]), "documents", sum(second["nats"]) / sum(second["tokens"]))


def scratch_difference(pipeline: Pipeline, source: str) -> Measured:
    """Give nats per token by which the run from the base is below the one from scratch on the same data."""
    return loss_difference(pipeline, "code_from_scratch", scratch_counterpart(pipeline), source)


def scratch_counterpart(pipeline: Pipeline) -> str:
    """Find the run from the base that saw the same data, infilled or not, as the one from scratch."""
    scratch = pipeline.runs.get("code_from_scratch")
    if scratch is None or scratch.recipe is None:
        raise NotMeasuredError("there is no run code_from_scratch")
    for name in ("code_without_infilling", "code"):
        run = pipeline.runs.get(name)
        if run is not None and run.recipe is not None and _teaching(run.recipe) == _teaching(scratch.recipe):
            return name
    raise NotMeasuredError("no run from the base saw the same data and tokens as code_from_scratch")


def _teaching(recipe: dict[str, Any]) -> dict[str, Any]:
    return {"data": recipe["data"], "batch": recipe["batch"]}


def infilling_difference(pipeline: Pipeline, worse: tuple[str, str], better: tuple[str, str], kind: str) -> Measured:
    """Give nats per byte of the true middle by which one (run, layout) is below another."""
    first, second = _both(pipeline, (worse[0], better[0]), "infilling", kind)
    _require_same(first["id"] == second["id"] and first["bytes"] == second["bytes"], worse[0], better[0])
    high, low = first["nats"][worse[1]], second["nats"][better[1]]
    interval = _paired(high, low, first["bytes"])
    return Measured(interval, len(first["id"]), "middles", sum(low) / sum(first["bytes"]))


def exact_match_share(pipeline: Pipeline, trained: str, untrained: str, *, kind: str, way: str) -> Measured:
    """Give the share of non-blank middles that `trained` writes exactly, against that of `untrained`."""
    counted = []
    for name in (trained, untrained):
        run = pipeline.runs.get(name)
        found = run.scores.get("infilling", {}).get(kind, {}).get("exact_match", {}).get(way) if run else None
        if not found or not found["non_blank_items"]:
            raise NotMeasuredError(f"{name} has written no middles")
        counted.append((found["non_blank_matches"], found["non_blank_items"]))
    return Measured(share(*counted[0]), counted[0][1], "non-blank lines", against=share(*counted[1]))


def within_difference(pipeline: Pipeline, worse: tuple[str, str], better: tuple[str, str]) -> Measured:
    """Give nats per token by which one (run, variant) is below another, within the length `code` was trained on."""
    trained_length, window = _trained_length_and_window(pipeline)
    return _position_difference(pipeline, worse, better, window=window, start=0, end=trained_length)


def beyond_difference(pipeline: Pipeline, worse: tuple[str, str], better: tuple[str, str]) -> Measured:
    """Give nats per token by which one (run, variant) is below another, beyond the length `code` was trained on.

    Positions go up to the end of the longest window that `code` was scored on.
    """
    trained_length, window = _trained_length_and_window(pipeline)
    return _position_difference(pipeline, worse, better, window=window, start=trained_length, end=window)


def _trained_length_and_window(pipeline: Pipeline) -> tuple[int, int]:
    run = pipeline.runs.get("code")
    measured = run.scores.get("positions") if run else None
    if measured is None or not measured["windows"]:
        raise NotMeasuredError("code has no loss by position")
    return measured["trained_length"], max(int(window) for window in measured["windows"])


def _position_difference(
    pipeline: Pipeline, worse: tuple[str, str], better: tuple[str, str], *, window: int, start: int, end: int
) -> Measured:
    rows = _position_rows(pipeline, worse, better, window=window, start=start, end=end)
    interval = _paired(rows.high, rows.low, [rows.tokens] * len(rows.high))
    return Measured(interval, len(rows.high), "files", sum(rows.low) / (rows.tokens * len(rows.low)))


@dataclass(frozen=True)
class _PositionRows:
    """Nats of each file in a range of positions under two models, and the tokens of that range."""

    high: list[float]
    low: list[float]
    tokens: int


def _position_rows(
    pipeline: Pipeline, worse: tuple[str, str], better: tuple[str, str], *, window: int, start: int, end: int
) -> _PositionRows:
    first, second = _both(pipeline, (worse[0], better[0]), "positions", str(window))
    for (name, variant), items in ((worse, first), (better, second)):
        if not items.get(variant):
            raise NotMeasuredError(f"{name} was not scored {variant.replace('_', ' ')} in windows of {window:,} tokens")
    _require_same(first["id"] == second["id"] and first["bounds"] == second["bounds"], worse[0], better[0])
    buckets = [index for index, (left, right) in enumerate(pairwise(first["bounds"])) if left >= start and right <= end]
    if not buckets:
        raise NotMeasuredError(f"no position bucket lies between {start:,} and {end:,}")
    high, low = (
        [sum(row[index] for index in buckets) for row in items[variant]]
        for items, variant in ((first, worse[1]), (second, better[1]))
    )
    return _PositionRows(high, low, sum(first["tokens"][index] for index in buckets))


def net_difference(pipeline: Pipeline, worse: tuple[str, str], better: tuple[str, str]) -> Measured:
    """Give how much more (run, variant) gains beyond the trained length than within it, in nats per token."""
    trained_length, window = _trained_length_and_window(pipeline)
    beyond = _position_rows(pipeline, worse, better, window=window, start=trained_length, end=window)
    within = _position_rows(pipeline, worse, better, window=window, start=0, end=trained_length)
    outside, inside = (
        [(high - low) / rows.tokens for high, low in zip(rows.high, rows.low, strict=True)] for rows in (beyond, within)
    )
    return Measured(_paired(outside, inside, [1.0] * len(outside)), len(outside), "files")


def position_gains(
    pipeline: Pipeline, worse: tuple[str, str], better: tuple[str, str], window: int
) -> tuple[list[int], list[Interval]]:
    """Give the bounds of a window's buckets and, for each, the nats of `better` less those of `worse`."""
    first, _ = _both(pipeline, (worse[0], better[0]), "positions", str(window))
    bounds: list[int] = first["bounds"]
    gains = []
    for start, end in pairwise(bounds):
        rows = _position_rows(pipeline, worse, better, window=window, start=start, end=end)
        gains.append(_paired(rows.low, rows.high, [rows.tokens] * len(rows.low)))
    return bounds, gains


def key_share(pipeline: Pipeline, name: str) -> Measured:
    """Give the share of keys retrieved over all lengths and positions."""
    run = pipeline.runs.get(name)
    scored = run.scores.get("key_retrieval", {}).get("cells", []) if run else []
    if not scored:
        raise NotMeasuredError(f"{name} was given no key retrieval prompts")
    correct, prompts = (sum(cell[key] for cell in scored) for key in ("correct", "prompts"))
    return Measured(share(correct, prompts), prompts, "prompts", against=GUESSING_A_KEY)


def _both(pipeline: Pipeline, names: tuple[str, str], probe: str, part: str) -> list[dict[str, Any]]:
    for name in names:
        if name not in pipeline.runs:
            raise NotMeasuredError(f"there is no run {name}")
    return [_items(pipeline, name, probe, part) for name in names]


def _items(pipeline: Pipeline, name: str, probe: str, part: str) -> dict[str, Any]:
    run = pipeline.runs[name]
    if not run.scores:
        raise NotMeasuredError(f"{name} has no scores yet")
    if not run.items.get(probe, {}).get(part):
        raise NotMeasuredError(f"{name} has no {probe.replace('_', ' ')} scores for {part.replace('_', ' ')}")
    found: dict[str, Any] = run.items[probe][part]
    return found


def _require_same(is_same: bool, first: str, second: str) -> None:
    if not is_same:
        raise NotMeasuredError(f"{first} and {second} were scored on different held-out items")


def _paired(first: list[float], second: list[float], denominators: list[Any]) -> Interval:
    return paired_difference(first, second, denominators, resamples=RESAMPLES, seed=SEED)
