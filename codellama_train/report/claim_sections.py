"""What each stage changed, beside what the paper says it should change."""

from __future__ import annotations

from html import escape

from codellama_train.report.claims import NATS_PER_TOKEN, SHARE
from codellama_train.report.comparisons import NotMeasuredError, position_gains
from codellama_train.report.drawing import strip
from codellama_train.report.infilling_charts import infilling_costs
from codellama_train.report.markup import ABSENT, Cell, colour, missing, number, paragraph, percent, signed, table
from codellama_train.report.paper import INFILLING_COST_OF_LOSS, KEY_RETRIEVAL_16K, SINGLE_LINE_EXACT_MATCH
from codellama_train.report.pipeline import Pipeline
from codellama_train.report.position_charts import (
    POSITION_LINES,
    losses_by_position,
    position_differences,
    trained_lengths,
)
from codellama_train.report.run_sections import scratch_chart
from codellama_train.report.verdicts import Finding, Verdict

SECTIONS = {
    "base": "A language model to start from",
    "code": "Code training",
    "infilling": "Infilling",
    "long_context": "Long context",
    "python": "Python specialisation",
    "instruct": "Instruction tuning",
    "lora": "Low-rank tuning",
}
RUN_OF_SECTION = {"base": "code_without_infilling", "infilling": "code"}
VERDICT_CLASS = {
    Verdict.SHOWS: "shows",
    Verdict.UNCLEAR: "unclear",
    Verdict.OPPOSITE: "opposite",
    Verdict.MISSING: "missing",
}


def claim_section(pipeline: Pipeline, section: str, findings: list[Finding]) -> str:
    """Show one stage's findings, then its charts."""
    cards = "".join(card(finding) for finding in findings if finding.claim.section == section)
    return f'<div class="cards">{cards}</div>' + EVIDENCE.get(section, _no_evidence)(pipeline)


def card(finding: Finding) -> str:
    """Show one finding: the number, its interval, the verdict, and what the paper says."""
    claim, measured = finding.claim, finding.measured
    lines = [f"<h3>{escape(claim.quantity)}</h3>"]
    if measured is None:
        lines.append(paragraph(f"{finding.reason}.", "interval"))
    else:
        interval = measured.interval
        lines += [
            f'<p class="value">{amount(finding, interval.value)} <small>{escape(claim.unit)}</small></p>',
            f'<p class="interval">95 %: {amount(finding, interval.low)} to {amount(finding, interval.high)}; '
            f"n = {measured.num_items:,} {escape(measured.item_noun)}{_context(finding)}</p>",
            strip(
                value=interval.value,
                low=interval.low,
                high=interval.high,
                marks=_paper_marks(finding),
                colour=colour(RUN_OF_SECTION.get(claim.section, claim.section)),
            ),
        ]
    lines.append(f'<span class="chip {VERDICT_CLASS[finding.verdict]}">{finding.verdict}</span>')
    source = "" if claim.paper.startswith("Not in the paper") else "Paper: "
    lines.append(paragraph(source + claim.paper, "paper"))
    return f'<div class="card" id="{claim.key}">{"".join(lines)}</div>'


def amount(finding: Finding, value: float) -> str:
    """Write a difference with its sign, and a share in percent."""
    return percent(value) if finding.claim.unit.startswith(SHARE) else signed(value)


def _context(finding: Finding) -> str:
    measured = finding.measured
    assert measured is not None, finding
    parts = [f"; ◇ {name}" for _, name in _paper_marks(finding)]
    if measured.level:
        parts.insert(
            0, f"; {percent(measured.interval.value / measured.level)} of the loss of {number(measured.level)}"
        )
    if measured.against is not None:
        parts.insert(0, f"; to compare with: {percent(measured.against.value)}")
    return "".join(parts)


def _paper_marks(finding: Finding) -> list[tuple[float, str]]:
    measured = finding.measured
    assert measured is not None, finding
    if finding.claim.key == "infilling_cost" and measured.level is not None:
        return [(INFILLING_COST_OF_LOSS * measured.level, f"the paper's {percent(INFILLING_COST_OF_LOSS)}")]
    if finding.claim.key == "exact_match":
        return [(SINGLE_LINE_EXACT_MATCH["psm"], "the paper's 7B")]
    return []


def _no_evidence(_: Pipeline) -> str:
    return ""


def _base_evidence(pipeline: Pipeline) -> str:
    drawn, mark = scratch_chart(pipeline)
    if drawn is None:
        return missing("a pair of runs from scratch and from the base on the same data")
    said = (
        f"The run from the base had the loss that the other ended with after {mark.share:.0%} of its tokens; in the "
        f"paper "
        f"after {mark.paper_share:.0%} (240B of 500B tokens saved)."
        if mark
        else "The run from the base never had the loss that the one from scratch ended with."
    )
    return f'<div class="charts">{drawn}</div>' + paragraph(said.replace("%", " %"))


def _infilling_evidence(pipeline: Pipeline) -> str:
    charts = [infilling_costs(pipeline, kind) for kind in ("single_line", "random_span")]
    drawn = "".join(each for each in charts if each)
    parts = [
        f'<div class="charts">{drawn}</div>' if drawn else missing("infilling scores"),
        _exact_match_table(pipeline),
    ]
    parts.append(
        paragraph(
            "A model that never saw the sentinels does badly after them for that alone, so the first number is the "
            "format "
            "learnt. That the suffix is used shows only where the same model does better with it than without. Exact "
            "matches "
            "of blank lines need no infilling, so they are counted apart. In SPM, a token that spans the seam is "
            "charged to "
            "the middle.",
            "note",
        )
    )
    return "".join(parts)


def _exact_match_table(pipeline: Pipeline) -> str:
    rows: list[list[str | Cell]] = []
    for run in pipeline.runs.values():
        scores = run.scores.get("infilling", {}).get("single_line", {}).get("exact_match", {})
        if scores and run.name in ("base", "code", "code_without_infilling", "long_context"):
            rows.append([run.name, *(Cell(_matches(scores[way])) for way in ("prefix_only", "psm", "spm"))])
    if not rows:
        return ""
    paper = SINGLE_LINE_EXACT_MATCH
    rows.append(["paper, 7B", ABSENT, *(Cell(percent(paper[mode])) for mode in ("psm", "spm"))])
    columns = ["single lines written exactly", "prefix only", "PSM", "SPM"]
    return "<h3>Greedy exact match of non-blank lines</h3>" + table(columns, rows)


def _matches(counted: dict[str, int]) -> str:
    return (
        f"{counted['non_blank_matches']} of {counted['non_blank_items']} "
        f"<small>all lines: {counted['matches']} of {counted['items']}</small>"
    )


def _long_context_evidence(pipeline: Pipeline) -> str:
    windows = sorted(
        {window for run in pipeline.runs.values() for window in run.scores.get("positions", {}).get("windows", {})},
        key=int,
    )
    charts = [chart for window in windows if (chart := losses_by_position(pipeline, window))]
    charts[1:1] = [chart for window in windows[:1] if (chart := _difference_chart(pipeline, window))]
    drawn = f'<div class="charts">{"".join(charts)}</div>' if charts else missing("the loss by position")
    return drawn + _key_table(pipeline)


def _difference_chart(pipeline: Pipeline, window: str) -> str | None:
    reference = POSITION_LINES[0]
    rows = []
    limits: list[int] = []
    for line in POSITION_LINES[1:]:
        try:
            limits, gains = position_gains(
                pipeline, (reference.run, reference.variant), (line.run, line.variant), int(window)
            )
        except NotMeasuredError:
            continue
        rows.append((line, gains))
    if not rows:
        return None
    files = pipeline.runs[reference.run].scores["positions"]["windows"][window]["files"]
    return position_differences(int(window), limits, rows, lengths=trained_lengths(pipeline), files=files)


def _key_table(pipeline: Pipeline) -> str:
    rows: list[list[str | int | Cell]] = []
    for name in ("code", "long_context"):
        run = pipeline.runs.get(name)
        cells = run.scores.get("key_retrieval", {}).get("cells", []) if run else []
        for length in dict.fromkeys(cell["length"] for cell in cells):
            found = [f"{cell['correct']} of {cell['prompts']}" for cell in cells if cell["length"] == length]
            rows.append([name, length, Cell(", ".join(found), "text")])
    if not rows:
        return ""
    paper = ", ".join(percent(share) for share in KEY_RETRIEVAL_16K)
    rows.append(["paper, 7B", 16_384, Cell(paper, "text")])
    positions = list(dict.fromkeys(cell["position"] for run in pipeline.runs.values() for cell in _cells(run.scores)))
    column = "found, key at " + ", ".join(f"{position:g}" for position in positions)
    note = "The paper's keys stand at 0, 0.2 and 0.4 of the prompt. Guessing finds 1 in 90."
    return "<h3>Key retrieval</h3>" + table(["model", "prompt, tokens", column], rows) + paragraph(note, "note")


def _cells(scores: dict[str, dict[str, list[dict[str, float]]]]) -> list[dict[str, float]]:
    return scores.get("key_retrieval", {}).get("cells", [])


EVIDENCE = {"base": _base_evidence, "infilling": _infilling_evidence, "long_context": _long_context_evidence}


def scores_table(pipeline: Pipeline) -> str:
    """Show every run's held-out loss by source, the best of each column in bold."""
    scored = {name: run.scores["loss"] for name, run in pipeline.runs.items() if run.scores.get("loss")}
    if not scored:
        return missing("held-out losses; scripts/evaluate.py measures them")
    sources = list(dict.fromkeys(source for losses in scored.values() for source in losses))
    best = {
        source: min(losses[source]["nats_per_token"]["value"] for losses in scored.values() if source in losses)
        for source in sources
    }
    rows: list[list[str | Cell]] = [
        [name, *(_loss_cell(losses.get(source), best[source]) for source in sources)] for name, losses in scored.items()
    ]
    documents = [
        max(losses[source]["documents"] for losses in scored.values() if source in losses) for source in sources
    ]
    columns = ["run", *(f"{source} (n = {count})" for source, count in zip(sources, documents, strict=True))]
    note = (
        f"In {NATS_PER_TOKEN}, with the half-width of the 95 % interval over documents; below, bits per byte. "
        f"Intervals of two "
        "runs overlap even where their paired difference is sure, because they share the documents."
    )
    return table(columns, rows) + paragraph(note, "note")


def _loss_cell(loss: dict[str, dict[str, float]] | None, best: float) -> Cell:
    if loss is None:
        return ABSENT
    nats, bits = loss["nats_per_token"], loss["bits_per_byte"]
    half = (nats["high"] - nats["low"]) / 2
    html = f"{number(nats['value'])} <small>± {half:.2f}</small><br><small>{number(bits['value'])} bits/byte</small>"
    return Cell(html, "best" if nats["value"] == best else "")
