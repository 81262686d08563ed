"""Loss curves, and how much sooner a run from the base reaches the loss of one from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codellama_train.report.drawing import DASHES, INK, MUTED, chart, paint
from codellama_train.report.markup import LegendEntry, colour, figure
from codellama_train.report.pipeline import Pipeline, Run

ON_CIRCLES = " Circles: held-out loss in order, without infilling, sources weighted by their shares."


def loss_curves(
    pipeline: Pipeline, names: Sequence[str], *, title: str, caption: str, mark: ReachedAt | None = None
) -> str | None:
    """Draw training losses over tokens; `mark` says where the first run reached the other's last loss."""
    runs = [pipeline.runs[name] for name in names if name in pipeline.runs and pipeline.runs[name].metrics]
    if not runs:
        return None
    with chart(height=2.9, label=title) as (drawing, result):
        axes = drawing.subplots()
        for run in runs:
            tokens = [record["tokens"] / 1e6 for record in run.metrics]
            axes.plot(tokens, [record["loss"] for record in run.metrics], color=paint(colour(run.name)))
        validated = [(run, points) for run in runs if (points := validation_points(run))]
        for run, points in validated:
            axes.plot(*zip(*points, strict=True), "o", markersize=6, color=paint(colour(run.name)), markeredgecolor=INK)
        axes.set_xlabel("million tokens of the run")
        axes.set_ylabel("training loss, nats per token")
        if mark is not None:
            _draw_mark(axes, mark)
    legend = [LegendEntry(run.name, colour(run.name)) for run in runs]
    return figure(result[0], title=title, caption=caption + ON_CIRCLES * bool(validated), legend=legend)


def validation_points(run: Run) -> list[tuple[float, float]]:
    """Give (million tokens, held-out loss) wherever a run was validated.

    The loss is the mean over sources by their shares of the mixture; sources that it does not have are left out.
    """
    sources = (run.recipe or {}).get("data", {}).get("sources", {})
    points = []
    for record in run.metrics:
        losses = record.get("validation_loss_by_source") or {}
        known = [(sources[name]["share"], losses[name]) for name in sources if losses.get(name) is not None]
        if known:
            mean = sum(share * loss for share, loss in known) / sum(share for share, _ in known)
            points.append((record["tokens"] / 1e6, mean))
    return points


@dataclass(frozen=True)
class ReachedAt:
    """Which share of its tokens a run needed to reach the last loss of another, beside the paper's share."""

    share: float
    paper_share: float
    total_tokens: int
    loss: float


def _draw_mark(axes: Any, mark: ReachedAt) -> None:
    axes.axhline(mark.loss, color=MUTED, linewidth=0.9, linestyle=DASHES["dotted"])
    here_is_later = mark.share > mark.paper_share
    for share, name, dash, is_right in (
        (mark.share, "here", "-", here_is_later),
        (mark.paper_share, "paper", DASHES["dashed"], not here_is_later),
    ):
        axes.axvline(share * mark.total_tokens / 1e6, color=INK, linewidth=1.0, linestyle=dash)
        axes.annotate(
            f" {name} {share:.0%} ",
            (share * mark.total_tokens / 1e6, 0.98),
            xycoords=("data", "axes fraction"),
            color=INK,
            va="top",
            ha="left" if is_right else "right",
        )


def reached_at(pipeline: Pipeline, faster: str, slower: str, *, paper_share: float) -> ReachedAt | None:
    """Find where `faster` reached the loss that `slower` ended with; None where either is missing or never did.

    Both losses are means over three records, whose tokens differ from step to step.
    """
    curves = [smoothed(pipeline.runs[name].metrics) if name in pipeline.runs else [] for name in (faster, slower)]
    if not all(curves):
        return None
    target, total = curves[1][-1][1], curves[0][-1][0]
    reached = next((tokens for tokens, loss in curves[0] if loss <= target), None)
    return None if reached is None else ReachedAt(reached / total, paper_share, total, target)


def smoothed(metrics: Sequence[dict[str, Any]], *, records: int = 3) -> list[tuple[int, float]]:
    """Give (tokens, mean loss of the last records)."""
    losses = [record["loss"] for record in metrics]
    return [
        (metrics[end - 1]["tokens"], sum(losses[end - records : end]) / records)
        for end in range(records, len(losses) + 1)
    ]
