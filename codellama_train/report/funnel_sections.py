"""The funnel: what each stage left of every source, and the reasons with samples of what they took."""

from __future__ import annotations

from html import escape
from typing import Any

from codellama_train.report.data_run import DataRun
from codellama_train.report.markup import ABSENT, Cell, meter, missing, number, paragraph, percent, table

STAGE_COLOURS = {"filter": 1, "deduplicate": 3, "decontaminate": 6, "split": 5}  # run colours of the style sheet
KEPT_COLOUR = 2
UNITS = {"documents": "documents", "bytes": "text"}


def size_of(count: float) -> str:
    """Write a number of bytes in a unit that a person reads."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= factor / 10:
            return f"{count / factor:,.1f} {unit}"
    return f"{count / 1e3:,.1f} kB"


def tokens_of(count: float) -> str:
    """Write a number of tokens in a unit that a person reads."""
    for unit, factor in (("B", 1e9), ("M", 1e6)):
        if count >= factor / 10:
            return f"{count / factor:,.2f} {unit}"
    return f"{count:,.0f}"


def reason_words(reason: str) -> str:
    """Write a reason as words; a tag's name stays a name."""
    return reason.replace("_", " ")


def cards(run: DataRun) -> str:
    """Say the run in a few numbers."""
    documents, num_bytes = (_total(run, "ingest", unit) for unit in ("documents", "bytes"))
    last = _last_stage(run)
    left, left_bytes = (_total(run, last, unit) for unit in ("documents", "bytes"))
    train = sum(sides["train"]["tokens"] for sides in run.report["shards"].values())
    held = sum(sides["held_out"]["tokens"] for sides in run.report["shards"].values())
    found = run.report["clusters"]
    benchmarks = run.report.get("decontamination") or {}
    hits = sum(benchmark["items_hit"] for benchmark in benchmarks.values())
    items = sum(benchmark["items"] for benchmark in benchmarks.values())
    entries = [
        ("Documents kept", f"{left:,}", f"of {documents:,} that ingest made, {percent(left / max(documents, 1))}"),
        ("Text kept", size_of(left_bytes), f"of {size_of(num_bytes)}, {percent(left_bytes / max(num_bytes, 1))}"),
        (
            "Tokens to train on",
            tokens_of(train),
            f"in {len(run.report['shards'])} sets of shards, which may share documents; {tokens_of(held)} more are "
            "held out",
        ),
        (
            "Near-duplicate clusters",
            number(found["clusters"]["count"]),
            f"of {number(found['clusters']['documents'])} documents, among {number(found['searched_documents'])} "
            "searched",
        ),
        (
            "Benchmark items found",
            f"{hits:,}" if benchmarks else "not searched",
            f"of {items:,} items of {', '.join(benchmarks)}" if benchmarks else "the recipe names no benchmark",
        ),
        ("Time", f"{sum(run.report['seconds'].values()):,.0f} s", "of all stages, each when it last ran"),
    ]
    return '<div class="cards">' + "".join(_card(*entry) for entry in entries) + "</div>"


def _card(title: str, value: str, said: str) -> str:
    return (
        f'<div class="card"><h3>{escape(title)}</h3><p class="value">{escape(value)}</p>'
        f'<p class="interval">{escape(said)}</p></div>'
    )


def _total(run: DataRun, stage: str, unit: str) -> int:
    return sum(int(counts[f"{unit}_out"]) for counts in run.report["stages"][stage].values())


def _last_stage(run: DataRun) -> str:
    *_, last = (stage for stage, counts in run.report["stages"].items() if counts)
    return str(last)


def funnel_section(run: DataRun) -> str:
    """Draw what each stage took of every source, and list what it left."""
    stages = [stage for stage in run.report["stages"] if run.report["stages"][stage] and stage != "ingest"]
    bars = "".join(_bars(run, source) for source in run.sources)
    legend = "".join(
        f'<li><i style="border-color:{_colour(stage)}"></i>{escape(name)}</li>'
        for stage, name in (("kept", "kept"), *((stage, f"taken by {stage}") for stage in stages))
    )
    rows: list[list[str | Cell]] = []
    for source in run.sources:
        counts = run.stages_of(source)
        first = counts["ingest"]
        cells = [_left(counts.get(stage), first) for stage in ("ingest", *stages)]
        rows.append([source, *cells])
    columns = ["source", "ingest", *(f"after {stage}" for stage in stages)]
    return f'<ul class="legend">{legend}</ul>{bars}' + table(columns, rows)


def _colour(stage: str) -> str:
    return f"var(--run-{STAGE_COLOURS.get(stage, KEPT_COLOUR)})"


def _bars(run: DataRun, source: str) -> str:
    """Draw two bars of a source, of documents and of bytes, cut where each stage took its part."""
    counts = run.stages_of(source)
    lines = []
    for unit, name in UNITS.items():
        first = counts["ingest"][f"{unit}_out"] or 1
        taken = {
            stage: sizes[f"{unit}_in"] - sizes[f"{unit}_out"] for stage, sizes in counts.items() if stage != "ingest"
        }
        kept = first - sum(taken.values())
        parts = "".join(_part(stage, count, first, unit) for stage, count in (("kept", kept), *taken.items()) if count)
        lines.append(
            f'<div class="stack"><span>{escape(name)}</span><div>{parts}</div><b>{percent(kept / first)}</b></div>'
        )
    return f"<h3>{escape(source)}</h3>{''.join(lines)}"


def _part(stage: str, count: int, first: int, unit: str) -> str:
    said = f"{stage}: {size_of(count) if unit == 'bytes' else f'{count:,} documents'}, {percent(count / first)}"
    return f'<i style="width:{100 * count / first:.3f}%;background:{_colour(stage)}" title="{escape(said)}"></i>'


def _left(sizes: dict[str, int] | None, first: dict[str, int]) -> Cell:
    if sizes is None:
        return ABSENT
    share = sizes["documents_out"] / (first["documents_out"] or 1)
    return Cell(f"{sizes['documents_out']:,}<br><small>{size_of(sizes['bytes_out'])}</small>{meter(share)}")


def removed_section(run: DataRun) -> str:
    """List every reason of every stage with what it took, and samples to read."""
    parts = []
    for stage, sources in run.report["removed"].items():
        rows = [_reason_row(run, stage, *key) for key in _by_documents(sources)]
        if rows:
            total = sum(entry["documents"] for reasons in sources.values() for entry in reasons.values())
            columns = ["source", "reason", "documents", "size", "of ingest", "samples"]
            opened = " open" if stage in ("filter", "deduplicate", "decontaminate") else ""
            summary = f"<summary><strong>{escape(stage)}</strong>: {number(total)} left out</summary>"
            parts.append(f"<details{opened}>{summary}{table(columns, rows)}</details>")
    note = (
        "A document goes for the first reason that holds, so the reasons of one stage do not overlap; what ingest "
        "leaves "
        "out are files that never became documents, and the shards stage counts pieces of documents."
    )
    return paragraph(note, "note") + ("".join(parts) or missing("any removal"))


def _by_documents(sources: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Give (source, reason, counts), those of the most documents first within a source."""
    return [
        (source, reason, entry)
        for source, reasons in sources.items()
        for reason, entry in sorted(reasons.items(), key=lambda item: -item[1]["documents"])
    ]


def _reason_row(run: DataRun, stage: str, source: str, reason: str, entry: dict[str, Any]) -> list[str | int | Cell]:
    decided = run.report["stages"][stage].get(source, {})  # ingest and shards count files and pieces instead
    ingested = run.ingested(source, "documents") if "documents_in" in decided else 0
    share = Cell(percent(entry["documents"] / ingested)) if ingested else ABSENT
    return [
        source,
        reason_words(reason),
        entry["documents"],
        Cell(size_of(entry["bytes"])),
        share,
        Cell(_samples(entry["samples"]), "text wrap"),
    ]


def _samples(samples: list[dict[str, str]]) -> str:
    """Hide samples behind their number; a file that was never read has its path only."""
    if not samples:
        return ""
    shown = "".join(
        f"<p><small>{escape(sample['path'])}</small></p>"
        + (f"<pre>{escape(sample['text'])}</pre>" if sample["text"] else "")
        for sample in samples
    )
    return f"<details><summary>{len(samples)} to look at</summary>{shown}</details>"
