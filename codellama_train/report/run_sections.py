"""Training: what each run took, and its loss curve."""

from __future__ import annotations

from html import escape
from typing import Any

from codellama_train.report.comparisons import NotMeasuredError, scratch_counterpart
from codellama_train.report.markup import ABSENT, Cell, missing, percent, table
from codellama_train.report.paper import SCRATCH_REACHED_AT
from codellama_train.report.pipeline import Pipeline, Run
from codellama_train.report.training_charts import ReachedAt, loss_curves, reached_at
from codellama_train.run_records import training_seconds


def training_section(pipeline: Pipeline) -> str:
    """Show the loss curves of all runs and what they took."""
    if not any(run.metrics for run in pipeline.runs.values()):
        return missing("metrics.jsonl of any run; scripts/train.py writes it")
    names = list(pipeline.runs)
    first = [name for name in names if name in ("code", "code_without_infilling", "code_from_scratch", "lora")]
    second = [name for name in names if name not in first]
    charts = [
        loss_curves(
            pipeline,
            first,
            title="Code training",
            caption="The same mixture for all; infilled documents are harder, so only the runs without them compare. "
            "Low-rank tuning changes a small part of the weights.",
        ),
        loss_curves(
            pipeline,
            second,
            title="The stages before and after",
            caption="Each run has its own mixture, so levels do not compare between runs.",
        ),
    ]
    return f'<div class="charts">{"".join(chart for chart in charts if chart)}</div>' + _runs_table(pipeline)


def scratch_chart(pipeline: Pipeline) -> tuple[str | None, ReachedAt | None]:
    """Draw the run from scratch beside the one from the base that saw the same data, with the paper's mark."""
    try:
        counterpart = scratch_counterpart(pipeline)
    except NotMeasuredError:
        return None, None
    mark = reached_at(pipeline, counterpart, "code_from_scratch", paper_share=SCRATCH_REACHED_AT)
    drawn = loss_curves(
        pipeline,
        [counterpart, "code_from_scratch"],
        title="From the base and from scratch, on the same data in the same order",
        caption="Lines mark the share of its tokens after which the run from the base had the loss that the other "
        "ended with, here and in the paper (figure 5). Training loss, means of three records.",
        mark=mark,
    )
    return drawn, mark


def _runs_table(pipeline: Pipeline) -> str:
    about = ["run", "starts from", "θ", "sequence"]
    columns = [*about, "steps", "tokens", "last loss", "tokens/s", "minutes", "infilled tokens"]
    return table(columns, [_run_row(run) for run in pipeline.runs.values()])


def _run_row(run: Run) -> list[str | int | Cell]:
    recipe: dict[str, Any] = run.recipe or {"model": {}, "data": {}}
    origin, theta = recipe["model"].get("init_from"), recipe["model"].get("rope_theta")
    about: list[str | int | Cell] = [
        run.name,
        "unknown" if run.recipe is None else parent_of(origin) if origin else "scratch",
        Cell(f"{theta:,.0f}") if theta else ABSENT,
        recipe["data"].get("sequence_length", ABSENT),
    ]
    if not run.metrics:
        return [*about, *[ABSENT] * 6]
    last = run.metrics[-1]
    infilled = last.get("infilled_tokens_fraction")
    return [
        *about,
        last["step"],
        last["tokens"],
        Cell(f"{last['loss']:.3f}"),
        Cell(f"{last['tokens_per_second']:,.0f}") if last.get("tokens_per_second") else ABSENT,
        Cell(f"{training_seconds(run.metrics) / 60:.1f}"),
        Cell(escape(percent(infilled))) if infilled else ABSENT,
    ]


def parent_of(origin: str) -> str:
    """Name the run that a model folder is the end of."""
    parts = origin.rstrip("/").split("/")
    return parts[-2] if parts[-1] == "final" and len(parts) > 1 else parts[-1]
