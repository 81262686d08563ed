"""Thresholds: what every other one would leave, drawn from the stored tags, and what each rule drops alone."""

from __future__ import annotations

from html import escape
from typing import Any

from codellama_train.report.data_run import DataRun
from codellama_train.report.drawing import DASHES, MUTED, chart, paint
from codellama_train.report.funnel_sections import reason_words, size_of
from codellama_train.report.markup import (
    ABSENT,
    Cell,
    LegendEntry,
    details,
    figure,
    meter,
    missing,
    paragraph,
    percent,
    table,
)
from codellama_train.report.style import RUN_COLOURS

SOURCE_COLOURS = (2, 1, 7, 5, 3, 4, 6, 0)  # of the runs' colours, those that are told apart best first
WIDEST_LINEAR_RANGE = 20.0  # beyond it thresholds are drawn on a logarithmic axis


def sweeps_section(run: DataRun) -> str:
    """Draw a chart for each tag that a rule uses, then those that none does, and list what rules overlap in."""
    if not run.account:
        return missing("the counts of the tags; this run was made before they were kept")
    tags = list(dict.fromkeys(tag for account in run.account.values() for tag in account["sweeps"]))
    ruled = [(tag, direction) for tag in tags for direction in ("above", "below") if _has_rule(run, tag, direction)]
    rest = [(tag, "above") for tag in tags if not any(_has_rule(run, tag, way) for way in ("above", "below"))]
    note = (
        "Each curve says what one rule alone would leave of a source were its threshold there: solid of documents, "
        "dotted of text. Counts are exact at every point; dashed lines are the recipe's thresholds."
    )
    parts = [paragraph(note, "note"), _charts(run, ruled)]
    if rest:
        parts.append(details(f"tags that no rule of this recipe uses: {len(rest)}", _charts(run, rest)))
    return "".join(parts) + _marks(run) + _overlap(run)


def _has_rule(run: DataRun, tag: str, direction: str) -> bool:
    sweeps = (account["sweeps"].get(tag, {"rules": []}) for account in run.account.values())
    return any(rule["drops"] == direction for swept in sweeps for rule in swept["rules"])


def source_colour(run: DataRun, source: str) -> str:
    """Give a source's colour: the same one everywhere on the page."""
    place = run.sources.index(source) % len(SOURCE_COLOURS)
    return f"var(--run-{SOURCE_COLOURS[place] % len(RUN_COLOURS)})"


def _charts(run: DataRun, chosen: list[tuple[str, str]]) -> str:
    return '<div class="charts">' + "".join(_chart(run, tag, direction) for tag, direction in chosen) + "</div>"


def _chart(run: DataRun, tag: str, direction: str) -> str:
    """Draw what stays of every source at each threshold of one tag, with the numbers behind it."""
    swept = {source: account["sweeps"][tag] for source, account in run.account.items() if tag in account["sweeps"]}
    swept = {source: own for source, own in swept.items() if len(own["points"]) > 1 and own["total"]["documents"]}
    if not swept:
        return ""
    title = f"{tag}: drop what lies {direction}"
    with chart(height=2.5, label=title) as (drawing, svg):
        axes = drawing.add_subplot()
        for source, own in swept.items():
            colour = paint(source_colour(run, source))
            style: dict[str, Any] = {"color": colour, "drawstyle": "steps-post"}
            axes.plot(own["points"], _stays(own, direction, "documents"), **style)
            axes.plot(
                own["points"], _stays(own, direction, "bytes"), linestyle=DASHES["dotted"], linewidth=1.6, **style
            )
            for rule in own["rules"]:
                if rule["drops"] == direction:
                    axes.axvline(rule["threshold"], color=colour, linewidth=1.2, linestyle=DASHES["dashed"])
        _scale(axes, [point for own in swept.values() for point in own["points"]])
        axes.set_ylim(0, 1.04)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.set_xlabel("threshold", color=MUTED)
    legend = [LegendEntry(source, source_colour(run, source)) for source in swept]
    numbers = details("the numbers", "".join(_numbers(source, own, direction) for source, own in swept.items()))
    drawn = figure(svg[0], title=title, caption=_said(swept, direction), legend=legend)
    return drawn.replace("</figure>", f"{numbers}</figure>")


def _stays(swept: dict[str, Any], direction: str, unit: str) -> list[float]:
    """Give the share that a threshold at each point leaves; what is not known is never dropped."""
    total = swept["total"][unit] or 1
    if direction == "above":
        return [(count + swept["unknown"][unit]) / total for count in swept["at_most"][unit]]
    return [1 - count / total for count in swept["below"][unit]]


def _scale(axes: Any, points: list[float]) -> None:
    """Choose a logarithmic axis where thresholds span powers of ten."""
    smallest = min((point for point in points if point > 0), default=1.0)
    if max(points) / smallest > WIDEST_LINEAR_RANGE and max(points) > 2:
        axes.set_xscale("symlog", linthresh=max(smallest, 1.0) if 0 in points else smallest)
        axes.set_xlim(left=0 if 0 in points else smallest)


def _said(swept: dict[str, dict[str, Any]], direction: str) -> str:
    """Say in words what the recipe's thresholds leave."""
    said = []
    for source, own in swept.items():
        for rule in own["rules"]:
            if rule["drops"] == direction and rule["language"] is not None:
                said.append(f"{source}: {rule['threshold']:g} for {rule['language']}")
            elif rule["drops"] == direction:
                stays = _stays(own, direction, "documents")[own["points"].index(rule["threshold"])]
                said.append(f"{source}: {direction} {rule['threshold']:g} drops {percent(1 - stays)} of the documents")
    return "; ".join(said) or "No rule of this recipe uses it."


def _numbers(source: str, swept: dict[str, Any], direction: str) -> str:
    """List the points of one source, the recipe's own threshold in bold."""
    used = {rule["threshold"] for rule in swept["rules"] if rule["drops"] == direction}
    documents, text = (_stays(swept, direction, unit) for unit in ("documents", "bytes"))
    rows: list[list[str | Cell]] = []
    for index, point in enumerate(swept["points"]):
        kind = "best" if point in used else ""
        dropped = round((1 - documents[index]) * swept["total"]["documents"])
        cells = (f"{point:g}", percent(documents[index]), percent(text[index]), f"{dropped:,}")
        rows.append([Cell(cell, kind) for cell in cells])
    columns = [f"{source}: threshold", "documents that stay", "text that stays", "documents dropped"]
    return table(columns, rows)


def _marks(run: DataRun) -> str:
    """List how many documents of each source have a mark, which has no threshold."""
    names = list(dict.fromkeys(mark for account in run.account.values() for mark in account.get("marks", {})))
    if not names:
        return ""
    rows: list[list[str | Cell]] = [
        [name, *(_marked(account["marks"].get(name)) for account in run.account.values())] for name in names
    ]
    note = "Documents that have the mark, of those of which it is known."
    return "<h3>Marks</h3>" + table(["mark", *run.account], rows) + paragraph(note, "note")


def _marked(counts: dict[str, int] | None) -> Cell:
    known = counts["of"] - counts["unknown"] if counts else 0
    if not counts or not known:
        return ABSENT
    share = counts["documents"] / known
    return Cell(f"{counts['documents']:,} <small>of {known:,}, {percent(share)}</small>{meter(share)}")


def _overlap(run: DataRun) -> str:
    """List what each rule would drop were it alone, and what only it drops."""
    rows: list[list[str | int | Cell]] = []
    for source, account in run.account.items():
        for rule, counts in account["rules"].items():
            alone = counts["alone_documents"] / (counts["documents"] or 1)
            rows.append(
                [
                    source,
                    Cell(escape(reason_words(rule)), "text"),
                    counts["documents"],
                    Cell(size_of(counts["bytes"])),
                    counts["alone_documents"],
                    Cell(size_of(counts["alone_bytes"])),
                    Cell(percent(alone) + meter(alone)),
                ]
            )
    if not rows:
        return ""
    columns = ["source", "rule", "drops", "text", "only this rule drops", "text", "of its own"]
    note = "A rule whose last column is near zero could go: the others drop the same documents."
    return "<h3>How the rules overlap</h3>" + table(columns, rows) + paragraph(note, "note")
