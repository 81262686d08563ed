"""Copies: near-duplicate clusters, the recall on planted ones, benchmark items that documents repeat, the split."""

from __future__ import annotations

from html import escape
from typing import Any

import pyarrow.parquet as pq

from codellama_train import artifacts
from codellama_train.report.data_run import DataRun
from codellama_train.report.drawing import DASHES, INK, chart, paint
from codellama_train.report.markup import (
    ABSENT,
    Cell,
    LegendEntry,
    details,
    figure,
    meter,
    missing,
    number,
    paragraph,
    percent,
    table,
)

FOUND, EXPECTED = "var(--run-2)", "var(--ink)"
SMALL_SIZES = (2, 3, 4, 5, 6)
ITEMS_SHOWN = 40
BY_LAYER = "items_hit_by_layer"
REPOSITORIES_SHOWN = 60


def duplicates_section(run: DataRun) -> str:
    """Show the sizes of clusters, the largest ones, and the recall on planted copies where it was measured."""
    found = run.report["clusters"]
    clusters = found["clusters"]
    said = (
        f"{number(clusters['count'])} clusters of {number(clusters['documents'])} documents among "
        f"{number(found['searched_documents'])} searched; of {number(found['candidate_pairs'])} candidate pairs "
        f"{number(found['verified_pairs'])} were similar enough by exact comparison "
        f"({percent(found['verified_pairs'] / (found['candidate_pairs'] or 1))})."
    )
    charts = [_size_chart(clusters["sizes"]), _recall_chart(_planted(run))]
    drawn = "".join(each for each in charts if each)
    rows = [
        [each["size"], Cell("<br>".join(escape(name) for name in each["documents"]), "text wrap")]
        for each in clusters.get("largest", [])
    ]
    largest = details("the largest clusters", table(["documents", "some of them"], rows)) if rows else ""
    return paragraph(said) + (f'<div class="charts">{drawn}</div>' if drawn else "") + largest


def _size_chart(sizes: dict[str, int]) -> str:
    if not sizes:
        return ""
    bins = _binned({int(size): count for size, count in sizes.items()})
    with chart(height=2.3, label="clusters by size") as (drawing, svg):
        axes = drawing.add_subplot()
        axes.bar(range(len(bins)), list(bins.values()), color=paint(FOUND), width=0.7)
        axes.set_xticks(range(len(bins)), list(bins))
        axes.set_yscale("log")
        axes.set_xlabel("documents in the cluster")
        axes.grid(visible=False, axis="x")
    return figure(svg[0], title="Clusters by size", caption="How many clusters have so many documents.")


def _binned(sizes: dict[int, int]) -> dict[str, int]:
    """Put sizes together whose exact number says nothing more."""
    edges = [*SMALL_SIZES, *(10**power * step for power in range(1, 9) for step in (1, 3))]
    bins = zip(edges, [*edges[1:], 10**12], strict=True)
    counted = {
        (str(low) if high == low + 1 else f"{low:,}–{high - 1:,}"): sum(  # noqa: RUF001
            count for size, count in sizes.items() if low <= size < high
        )
        for low, high in bins
    }
    names = list(counted)
    last = max(place for place, name in enumerate(names) if counted[name])
    return {name: counted[name] for name in names[: last + 1]}


def _planted(run: DataRun) -> dict[str, Any]:
    """Give what the deduplication measured on planted copies; empty where it planted none."""
    planted: dict[str, Any] = run.manifests.get("deduplicate", {}).get("planted") or {}
    return planted if planted.get("by_similarity") else {}


def _recall_chart(planted: dict[str, Any]) -> str:
    """Draw how many of the planted pairs of each similarity were found, beside what theory promises."""
    if not planted:
        return ""
    bins = planted["by_similarity"]
    at = [(each["from"] + each["to"]) / 2 for each in bins]
    with chart(height=2.3, label="recall on planted pairs") as (drawing, svg):
        axes = drawing.add_subplot()
        expected = [each["expected"] / each["pairs"] for each in bins]
        found = [each["found"] / each["pairs"] for each in bins]
        axes.plot(at, expected, color=INK, linestyle=DASHES["dashed"], linewidth=1.4)
        axes.plot(at, found, color=paint(FOUND), marker="o", markersize=4, linestyle="none")
        axes.set_ylim(-0.03, 1.06)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.set_xlabel("exact Jaccard similarity")
    above = planted["at_or_above_similarity"]
    caption = (
        f"Of {above['pairs']:,} planted pairs at or above the recipe's similarity {above['found']:,} were found, "
        f"{percent(above['found'] / (above['pairs'] or 1))}; the bands promise {above['expected']:,.1f}. Each point is "
        f"a range of similarity, of {sum(each['pairs'] for each in bins):,} pairs in all."
    )
    legend = [LegendEntry("found", FOUND, "dotted"), LegendEntry("theory", EXPECTED, "dashed")]
    return figure(svg[0], title="Planted copies that the search finds", caption=caption, legend=legend)


def contamination_section(run: DataRun) -> str:
    """Show, for each benchmark, what of it the documents repeat, item by item."""
    benchmarks = run.report.get("decontamination") or {}
    if not benchmarks:
        return paragraph("The recipe names no benchmark, so nothing was compared with one.", "note")
    layers = list(dict.fromkeys(layer for found in benchmarks.values() for layer in found.get(BY_LAYER, {})))
    rows: list[list[str | int | Cell]] = []
    for name, found in benchmarks.items():
        share = found["items_hit"] / (found["items"] or 1)
        hits = found.get(BY_LAYER, {})
        counted = [hits.get(layer, 0) for layer in layers]
        more = [found.get("documents", ABSENT), found.get("items_too_short_for_all", ABSENT)]
        rows.append([name, found["items"], found["items_hit"], Cell(percent(share) + meter(share)), *counted, *more])
    columns = ["benchmark", "items", "items found", "share", *(f"by {layer}" for layer in layers)]
    note = "An item may be found by several layers; one that is too short for all of them was not looked for."
    return (
        table([*columns, "in documents", "too short"], rows)
        + (paragraph(note, "note") if layers else "")
        + "".join(_items(run, name, found) for name, found in benchmarks.items())
    )


def _layers_of_items(run: DataRun, benchmark: str) -> dict[str, list[str]]:
    """Read which layers found each item of a benchmark, where the run keeps that."""
    path = run.folder / "decontaminate" / "benchmark_items.json"
    if not path.is_file():
        return {}
    dirty: dict[str, list[str]] = artifacts.read_json(path).get(benchmark, {}).get("dirty", {})
    return dirty


def _excerpts_of_items(run: DataRun, benchmark: str) -> dict[str, str]:
    """Read, where the run keeps it, what one of the documents says that repeats each item of a benchmark."""
    path = run.folder / "decontaminate" / "hits.parquet"
    if not path.is_file() or "excerpt" not in pq.read_schema(path).names:
        return {}
    hits = pq.read_table(path, columns=["item", "excerpt"], filters=[("benchmark", "=", benchmark)]).to_pylist()
    return {hit["item"]: hit["excerpt"] for hit in reversed(hits)}


def _items(run: DataRun, name: str, found: dict[str, Any]) -> str:
    """List the items of one benchmark that were found, those in the most documents first."""
    by_item = sorted(found.get("documents_by_item", {}).items(), key=lambda item: (-item[1], item[0]))
    if not by_item:
        return ""
    layers, excerpts = _layers_of_items(run, name), _excerpts_of_items(run, name)
    rows: list[list[str | int | Cell]] = []
    for item, count in by_item[:ITEMS_SHOWN]:
        excerpt = excerpts.get(item)
        shown = Cell(f"<pre>{escape(excerpt)}</pre>", "text wrap") if excerpt else ABSENT
        rows.append([item, count, ", ".join(layers.get(item, [])), shown])
    more = f", the first {ITEMS_SHOWN}" if len(by_item) > ITEMS_SHOWN else ""
    columns = ["item", "in documents", "found by", "what one of them says"]
    return details(f"{name}: the {len(by_item):,} items found{more}", table(columns, rows))


def held_out_section(run: DataRun) -> str:
    """Show what each source sets aside, and the repositories."""
    held = run.report.get("held_out") or {}
    if not held:
        return missing("a split")
    divided = set(run.report.get("repositories_divided_by_file", []))
    rows: list[list[str | int | Cell]] = []
    for source, sides in held.items():
        total = sides["train_documents"] + sides["held_out_documents"]
        names = sides["repositories"]
        shown = ", ".join(names[:REPOSITORIES_SHOWN]) + (" …" if len(names) > REPOSITORIES_SHOWN else "")
        rows.append(
            [
                source,
                sides["train_documents"],
                sides["held_out_documents"],
                Cell(percent(sides["held_out_documents"] / (total or 1))),
                len(names),
                Cell(f"<small>{escape(shown)}</small>", "text wrap"),
            ]
        )
    columns = ["source", "to train on", "held out", "share", "repositories", "which"]
    note = (
        f"{number(len(divided))} repositories are divided by file, because their source has too few of them."
        if divided
        else "Every repository is on one side."
    )
    return table(columns, rows) + paragraph(note, "note")
