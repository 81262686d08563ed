"""The report of a data run: what went in, what was left out and why, what came out, on one HTML page."""

from __future__ import annotations

from codellama_train.report.composition_sections import language_section, license_section
from codellama_train.report.copy_sections import contamination_section, duplicates_section, held_out_section
from codellama_train.report.data_run import DataRun
from codellama_train.report.funnel_sections import cards, funnel_section, removed_section
from codellama_train.report.markup import Cell, meter, page, paragraph, table
from codellama_train.report.shard_sections import epochs_section, shards_section
from codellama_train.report.sweep_sections import sweeps_section


def render_data_run(run: DataRun) -> str:
    """Write the whole page."""
    sections = [
        ("headline", "In short", cards(run)),
        ("funnel", "From files to training tokens", funnel_section(run)),
        ("removed", "What was left out, and why", removed_section(run)),
        ("sweeps", "What other thresholds would do", sweeps_section(run)),
        ("languages", "Languages", language_section(run)),
        ("licences", "Licences", license_section(run)),
        *([("private", "Private data", _private(run))] if run.manifests["tag"].get("private") else []),
        ("copies", "Near-duplicates", duplicates_section(run)),
        ("contamination", "Contamination", contamination_section(run)),
        ("held_out", "Held out", held_out_section(run)),
        ("shards", "Token shards", shards_section(run)),
        ("epochs", "Table 1 of these shards", epochs_section(run)),
        ("seconds", "Where the time went", _seconds(run)),
    ]
    lead = (
        f"{len(run.sources)} sources: {', '.join(run.sources)}. Every number is counted by the stage that decided, or "
        "from the tags that are stored beside each document; a share is of what ingest made, unless it says otherwise."
    )
    return page(f"Data run {run.report['recipe']}", lead, sections)


def _private(run: DataRun) -> str:
    rows = [[kind.replace("_", " "), count] for kind, count in run.manifests["tag"]["private"].items()]
    note = (
        "Places in all texts that ingest made. The kinds that a recipe names under [redaction] are replaced where "
        "texts "
        "are encoded; the samples on this page are as they were read."
    )
    return table(["kind", "found"], rows) + paragraph(note, "note")


def _seconds(run: DataRun) -> str:
    seconds, total = run.report["seconds"], sum(run.report["seconds"].values()) or 1.0
    num_bytes = sum(run.ingested(source, "bytes") for source in run.sources)
    rows: list[list[str | Cell]] = [
        [
            stage,
            Cell(f"{spent:,.1f} s"),
            Cell(f"{spent / total:.0%}{meter(spent / total)}"),
            Cell(f"{num_bytes / 1e6 / spent:,.1f} MB/s" if spent >= 0.05 else "–"),  # noqa: RUF001
        ]
        for stage, spent in seconds.items()
    ]
    note = (
        f"Seconds of wall time when each stage last ran, {total:,.0f} in all; the rate is of the "
        f"{num_bytes / 1e6:,.1f} MB of text that ingest made, whatever the stage still had to read."
    )
    return table(["stage", "time", "share", "rate"], rows) + paragraph(note, "note")
