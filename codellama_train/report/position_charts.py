"""Loss by position in long files, as levels and as differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from codellama_train.evaluation.statistics import Interval
from codellama_train.recipe.evaluation import AS_TRAINED, RAISED_THETA
from codellama_train.report.drawing import DASHES, MUTED, chart, paint
from codellama_train.report.markup import LegendEntry, colour, figure
from codellama_train.report.pipeline import Pipeline


@dataclass(frozen=True)
class PositionLine:
    """A model scored in one way, as a line of a chart."""

    run: str
    variant: str
    label: str
    dash: str


POSITION_LINES = (
    PositionLine("code", AS_TRAINED, "code", ""),
    PositionLine("code", RAISED_THETA, "code, θ raised at inference", "dotted"),
    PositionLine("long_context", AS_TRAINED, "long_context", ""),
)


def losses_by_position(pipeline: Pipeline, window: str) -> str | None:
    """Draw the loss by position for every model that was scored on a window."""
    lines = [(line, measured) for line in POSITION_LINES if (measured := _position_scores(pipeline, line, window))]
    if not lines:
        return None
    files, title = lines[0][1]["files"], f"Loss by position, up to {int(window):,} tokens"
    with chart(height=2.9, label=title) as (drawing, result):
        axes = drawing.subplots()
        for line, measured in lines:
            centres = bucket_centres(measured["bounds"])
            values = [bucket["value"] for bucket in measured[line.variant]]
            axes.plot(
                centres, values, color=paint(colour(line.run)), linestyle=DASHES[line.dash], marker="o", markersize=4
            )
        _position_axis(axes, lines[0][1]["bounds"], trained_lengths(pipeline))
        axes.set_ylabel("nats per token")
    return figure(
        result[0],
        title=title,
        caption=f"The same {files} held-out files for each model. Positions hold different text: compare lines at one "
        "position, not positions of one line.",
        legend=[LegendEntry(line.label, colour(line.run), line.dash) for line, _ in lines],
    )


def position_differences(
    window: int,
    bounds: Sequence[int],
    rows: Sequence[tuple[PositionLine, list[Interval]]],
    *,
    lengths: Sequence[int],
    files: int,
) -> str:
    """Draw, bucket by bucket, by how much each line lies below the code model as trained."""
    title = "Change against code as trained, by position"
    with chart(height=2.9, label=f"{title}, {window}") as (drawing, result):
        axes = drawing.subplots()
        axes.axhline(0, color=MUTED, linewidth=1.0)
        for number, (line, intervals) in enumerate(rows):
            centres = [centre * 1.06 ** (number - (len(rows) - 1) / 2) for centre in bucket_centres(bounds)]
            errors = [
                [interval.value - interval.low for interval in intervals],
                [interval.high - interval.value for interval in intervals],
            ]
            axes.errorbar(
                centres,
                [interval.value for interval in intervals],
                yerr=errors,
                color=paint(colour(line.run)),
                linestyle=DASHES[line.dash],
                marker="o",
                markersize=4,
                linewidth=1.6,
            )
        _position_axis(axes, bounds, lengths)
        axes.set_ylabel("change, nats per token")
    return figure(
        result[0],
        title=title,
        caption=f"Below zero is better. Paired over the same {files} files; bars are 95 % intervals over files.",
        legend=[LegendEntry(line.label, colour(line.run), line.dash) for line, _ in rows],
    )


def _position_scores(pipeline: Pipeline, line: PositionLine, window: str) -> dict[str, Any] | None:
    run = pipeline.runs.get(line.run)
    measured: dict[str, Any] = run.scores.get("positions", {}).get("windows", {}).get(window, {}) if run else {}
    return measured if measured.get(line.variant) else None


def trained_lengths(pipeline: Pipeline) -> list[int]:
    """Give the trained lengths of the models the chart compares."""
    runs = [pipeline.runs[line.run] for line in POSITION_LINES if line.run in pipeline.runs]
    return sorted({run.scores["positions"]["trained_length"] for run in runs if "positions" in run.scores})


def _position_axis(axes: Any, bounds: Sequence[int], lengths: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(bounds[1] / 2, bounds[-1])
    axes.set_xticks(bounds[1:], [f"{bound:,}" for bound in bounds[1:]])
    axes.minorticks_off()
    axes.set_xlabel("position in the file, tokens")
    for length in lengths:
        if bounds[0] < length < bounds[-1]:
            axes.axvline(length, color=MUTED, linewidth=1.0, linestyle=DASHES["dashed"])
            axes.annotate(
                f" trained to {length:,}",
                (length, 1),
                xycoords=("data", "axes fraction"),
                color=MUTED,
                va="top",
                fontsize=9.5,
            )


def bucket_centres(bounds: Sequence[int]) -> list[float]:
    """Give each bucket's middle on a logarithmic axis."""
    return [math.sqrt(max(start, bounds[1] / 2) * end) for start, end in pairwise(bounds)]
