"""What the true middle of a gap costs with and without the suffix."""

from __future__ import annotations

from codellama_train.report.drawing import chart, paint
from codellama_train.report.markup import LegendEntry, colour, figure
from codellama_train.report.pipeline import Pipeline

LAYOUTS = (
    ("prefix_only", "prefix only"),
    ("psm", "PSM"),
    ("prefix_only_joint", "prefix only, joint tokens"),
    ("spm", "SPM"),
)


def infilling_costs(pipeline: Pipeline, kind: str) -> str | None:
    """Draw what the true middle costs given the prefix only and given the suffix too, with and without training."""
    names = [
        name
        for name in ("code", "code_without_infilling")
        if name in pipeline.runs and kind in pipeline.runs[name].scores.get("infilling", {})
    ]
    if not names:
        return None
    title = {"single_line": "Single lines", "random_span": "Random spans"}[kind]
    items = pipeline.runs[names[0]].scores["infilling"][kind]["items"]
    with chart(height=2.5, label=f"{title}: nats per byte of the middle") as (drawing, result):
        axes = drawing.subplots()
        for number, name in enumerate(names):
            scores = pipeline.runs[name].scores["infilling"][kind]["nats_per_byte"]
            values = [scores[layout] for layout, _ in LAYOUTS]
            places = [row + 0.22 * (number - (len(names) - 1) / 2) for row in range(len(LAYOUTS))]
            below, above = ([abs(each["value"] - each[side]) for each in values] for side in ("low", "high"))
            axes.errorbar(
                [each["value"] for each in values],
                places,
                xerr=[below, above],
                color=paint(colour(name)),
                linestyle="none",
                marker="o",
                markersize=6,
                linewidth=1.8,
            )
        axes.set_yticks(range(len(LAYOUTS)), [label for _, label in LAYOUTS])
        axes.set_ylim(len(LAYOUTS) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("nats per byte; less is better")
    return figure(
        result[0],
        title=title,
        caption=f"{items} held-out functions, one gap in each; 95 % intervals over them. Compare PSM with "
        "“prefix only”, "
        "SPM with “joint tokens”: each pair has the same tokens.",
        legend=[LegendEntry(name, colour(name)) for name in names],
    )
