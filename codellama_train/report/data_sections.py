"""What went in: documents by stage and reason, and the mixture beside the paper's table 1."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from codellama_train.report.markup import ABSENT, Cell, details, meter, missing, number, paragraph, percent, table
from codellama_train.report.paper import MIXTURE_OF_RUN, MIXTURES
from codellama_train.report.pipeline import Pipeline, Run

REASONS_SHOWN = 12
ITEMS_SHOWN = 8


def data_section(pipeline: Pipeline) -> str:
    """Show how many documents each stage left, why the others went, and what the shards hold."""
    if pipeline.data is None:
        return missing("data_report.json of the data run; scripts/prepare_data.py writes it")
    return "".join(part(pipeline.data) for part in (_documents_left, _shards, _removed, _decontamination, _other_facts))


def _documents_left(data: dict[str, Any]) -> str:
    stages = {stage: sources for stage, sources in data["stages"].items() if sources}
    sources = list(dict.fromkeys(source for counts in stages.values() for source in counts))
    rows: list[list[str | Cell]] = []
    for source in sources:
        counts = [counts.get(source) for counts in stages.values()]
        first = next((count["documents_out"] for count in counts if count), 0)
        rows.append([source, *(_left(count, first) for count in counts)])
    title = "<h3>Documents left after each stage</h3>"
    return title + table(["source", *(f"after {stage}" for stage in stages)], rows)


def _left(count: dict[str, Any] | None, first: int) -> Cell:
    if count is None:
        return ABSENT
    documents = count["documents_out"]
    size = f" <small>{megabytes(count['bytes_out'])}</small>" if "bytes_out" in count else ""
    return Cell(f"{documents:,}{size}{meter(documents / first if first else 0)}")


def megabytes(count: float) -> str:
    """Write a number of bytes in a unit that a person reads."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def _shards(data: dict[str, Any]) -> str:
    rows = [
        [
            view,
            sides["train"]["documents"],
            sides["train"]["tokens"],
            sides["held_out"]["documents"],
            sides["held_out"]["tokens"],
            Cell(f"{sides['train']['bytes_per_token']:.2f}"),
        ]
        for view, sides in data.get("shards", {}).items()
    ]
    columns = ["shards", "documents to train on", "tokens", "documents held out", "tokens", "bytes per token"]
    return "<h3>Token shards</h3>" + table(columns, rows)


def _removed(data: dict[str, Any]) -> str:
    parts = ["<h3>What was left out, and why</h3>"]
    for stage, sources in data.get("removed", {}).items():
        rows = [
            [source, reason.replace("_", " "), entry["documents"], Cell(megabytes(entry["bytes"]))]
            for source, reasons in sources.items()
            for reason, entry in list(reasons.items())[:REASONS_SHOWN]
        ]
        if not rows:
            continue
        total = sum(entry["documents"] for reasons in sources.values() for entry in reasons.values())
        summary = f"{stage}: {number(total)} left out"
        parts.append(details(summary, table(["source", "reason", "documents", "size"], rows) + _examples(sources)))
    return "".join(parts) if len(parts) > 1 else parts[0] + missing("any removal")


def _examples(sources: dict[str, Any]) -> str:
    rows = [
        [
            reason.replace("_", " "),
            Cell(escape(sample["path"]), "text wrap"),
            Cell(_excerpt(sample["text"]), "text wrap"),
        ]
        for reasons in sources.values()
        for reason, entry in reasons.items()
        for sample in entry.get("samples", [])[:1]
    ]
    return details("one example of each", table(["reason", "document", "how it begins"], rows)) if rows else ""


def _excerpt(text: str) -> str:
    return f"<small>{escape(' '.join(text.split())[:120])}</small>"


def _decontamination(data: dict[str, Any]) -> str:
    title = "<h3>Decontamination</h3>"
    benchmarks = data.get("decontamination") or {}
    if not benchmarks:
        return title + paragraph("No benchmark was named, so nothing was compared with one.", "note")
    rows: list[list[str | int | Cell]] = []
    for name, found in benchmarks.items():
        documents = found["documents_by_item"]
        worst = ", ".join(f"{item} ({count})" for item, count in list(documents.items())[:ITEMS_SHOWN])
        rows.append([name, found["items"], found["items_hit"], Cell(escape(worst) or "none", "text wrap")])
    return title + table(["benchmark", "items", "items found", "items found (in documents)"], rows)


def _other_facts(data: dict[str, Any]) -> str:
    found = data["clusters"]
    facts = [
        f"Near-duplicates: {number(found['clusters']['count'])} clusters of {number(found['clusters']['documents'])} "
        f"documents among {number(found['searched_documents'])}; of {number(found['candidate_pairs'])} candidate pairs "
        f"{number(found['verified_pairs'])} were similar enough."
    ]
    held_out = data.get("held_out", {})
    if held_out:
        counted = (f"{source} {len(sides['repositories'])}" for source, sides in held_out.items())
        facts.append("Repositories set aside whole for evaluation: " + ", ".join(counted) + ".")
    seconds = data.get("seconds", {})
    if seconds:
        facts.append(
            "Seconds per stage: " + ", ".join(f"{stage} {spent:.0f}" for stage, spent in seconds.items()) + "."
        )
    return "".join(paragraph(fact, "note") for fact in facts)


def mixture_section(pipeline: Pipeline) -> str:
    """Show this pipeline's table 1 beside the paper's."""
    runs = [run for run in pipeline.runs.values() if run.recipe is not None]
    if not runs:
        return missing("a run with its recipe")
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps([run.recipe and run.recipe["data"]["sources"], _drawn(run)]), []).append(run)
    rows = [row for group in groups.values() for row in _mixture_rows(group)]
    columns = ["run", "source", "share", "paper", "tokens", "epochs", "paper"]
    return table(columns, rows) + paragraph(
        "Share is of tokens. The paper draws 500B tokens for code, 100B for Python and 5B for instruction tuning; "
        "its shares "
        "are those of table 1, for instruct those of section 2.5.",
        "note",
    )


def _drawn(run: Run) -> tuple[int, dict[str, float]]:
    """Give the tokens a run has seen and how often it saw each source."""
    last = run.metrics[-1] if run.metrics else {}
    return last.get("tokens", 0), last.get("epochs_by_source") or {}


def _mixture_rows(group: list[Run]) -> list[list[str | Cell]]:
    """Write one mixture, which all runs of the group saw equally much of."""
    run = group[0]
    assert run.recipe is not None, run.name
    name = "<br>".join(f"<strong>{escape(each.name)}</strong>" for each in group)
    paper = next((MIXTURES[MIXTURE_OF_RUN[each.name]] for each in group if each.name in MIXTURE_OF_RUN), {})
    tokens, seen = _drawn(run)
    rows: list[list[str | Cell]] = []
    for number_of_row, (source, entry) in enumerate(run.recipe["data"]["sources"].items()):
        row = paper.get(source)
        epochs = seen.get(source)
        rows.append(
            [
                Cell(name if number_of_row == 0 else "", "text"),
                source,
                Cell(percent(entry["share"]) + meter(entry["share"])),
                Cell(percent(row.share)) if row else ABSENT,
                Cell(f"{tokens * entry['share'] / 1e6:,.2f} M") if tokens else ABSENT,
                Cell(f"{epochs:.2f}") if epochs is not None else ABSENT,
                Cell(escape(row.epochs)) if row else ABSENT,
            ]
        )
    return rows
