"""Languages and licences: documents and bytes before and after, and the tokens that the shards have of each."""

from __future__ import annotations

from html import escape
from typing import Any

from codellama_train.report.data_run import DataRun
from codellama_train.report.funnel_sections import size_of, tokens_of
from codellama_train.report.markup import ABSENT, Cell, details, meter, missing, paragraph, percent, table

ROWS_SHOWN = 30
SIZES = ("documents_in", "bytes_in", "documents_out", "bytes_out")


def language_section(run: DataRun) -> str:
    """Show the languages of every source."""
    return _section(run, "languages", "language", "")


def license_section(run: DataRun) -> str:
    """Show the licences of every source."""
    note = (
        "As the origin of a document names it; “not known” where it names none. Whether a licence allows training is "
        "for "
        "the recipe's rules to decide."
    )
    return _section(run, "licenses", "licence", note)


def _section(run: DataRun, group: str, name: str, note: str) -> str:
    if not run.account:
        return missing(f"the {name} counts of the tags; this run was made before they were kept")
    parts = [paragraph(note, "note")] if note else []
    for source, account in run.account.items():
        views = _views_of(run, source)
        rows = _rows(run, account[group], group, views)
        title = f"<h3>{escape(source)}</h3>"
        parts.append(title + table(_columns(name, views), rows[:ROWS_SHOWN]))
        if len(rows) > ROWS_SHOWN:
            parts.append(details(f"{len(rows) - ROWS_SHOWN} more", table(_columns(name, views), rows[ROWS_SHOWN:])))
    return "".join(parts)


def _views_of(run: DataRun, source: str) -> list[str]:
    """Name the sets of shards that are made of a source and say what their tokens are."""
    return [
        view
        for view, sides in run.report["shards"].items()
        if "languages" in sides["train"] and _source_of(run, view) == source
    ]


def _source_of(run: DataRun, view: str) -> str | None:
    manifest = run.view_manifest(view)
    return None if manifest is None else manifest.get("source")


def _columns(name: str, views: list[str]) -> list[str]:
    return [name, "documents", "text", "kept", "text kept", "of the kept", *(f"tokens in {view}" for view in views)]


def _rows(
    run: DataRun, values: dict[str, dict[str, int]], group: str, views: list[str]
) -> list[list[str | int | Cell]]:
    kept_bytes = sum(sizes["bytes_out"] for sizes in values.values()) or 1
    return [_row(run, value, sizes, kept_bytes, group, views) for value, sizes in values.items()]


def _row(
    run: DataRun, value: str, sizes: dict[str, int], kept_bytes: int, group: str, views: list[str]
) -> list[str | int | Cell]:
    share = sizes["bytes_out"] / kept_bytes
    kept = f"{sizes['documents_out']:,} <small>{percent(sizes['documents_out'] / (sizes['documents_in'] or 1))}</small>"
    return [
        Cell(escape(value), "text wrap"),
        sizes["documents_in"],
        Cell(size_of(sizes["bytes_in"])),
        Cell(kept),
        Cell(size_of(sizes["bytes_out"])),
        Cell(percent(share) + meter(share)),
        *(_tokens(run.report["shards"][view]["train"], group, value) for view in views),
    ]


def _tokens(side: dict[str, Any], group: str, value: str) -> Cell:
    found = side[group].get(value)
    return Cell(tokens_of(found["tokens"])) if found else ABSENT
