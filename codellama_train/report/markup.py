"""Small pieces of HTML; every text that comes from a run is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from codellama_train.report.style import RUN_COLOURS, STYLE


@dataclass(frozen=True)
class Cell:
    """A table cell of ready HTML, with its class."""

    html: str
    kind: str = ""


ABSENT = Cell("–")  # noqa: RUF001


def table(columns: Sequence[str], rows: Iterable[Sequence[str | float | Cell]]) -> str:
    """Write a table; plain text is escaped and left-aligned, numbers are right-aligned."""
    body = [[cell if isinstance(cell, Cell) else _cell(cell) for cell in row] for row in rows]
    if not body:
        return missing("nothing to show")
    kinds = ["text" if all("text" in row[index].kind for row in body) else "" for index in range(len(columns))]
    head = "".join(f"<th{_class(kind)}>{escape(name)}</th>" for name, kind in zip(columns, kinds, strict=True))
    lines = ["<tr>" + "".join(f"<td{_class(cell.kind)}>{cell.html}</td>" for cell in row) + "</tr>" for row in body]
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n'
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


def _cell(value: str | float) -> Cell:
    return Cell(escape(value), "text") if isinstance(value, str) else Cell(number(value))


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def number(value: float) -> str:
    """Write a count with thousands separators, and anything else with three decimals."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".replace("-", "−")  # noqa: RUF001


def signed(value: float) -> str:
    """Write a difference with its sign."""
    return ("+" if value >= 0 else "") + number(float(value))


def percent(value: float) -> str:
    """Write a share."""
    return f"{value:.1%}".replace("%", " %").replace("-", "−")  # noqa: RUF001


def meter(share: float) -> str:
    """Draw a share as a bar."""
    return f'<span class="meter"><i style="width:{max(0.0, min(share, 1.0)):.1%}"></i></span>'


def paragraph(text: str, kind: str = "") -> str:
    """Write a paragraph of plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def missing(text: str) -> str:
    """Say that something does not exist."""
    return paragraph(f"Not there: {text}.", "note")


def details(summary: str, html: str) -> str:
    """Hide HTML behind a line that opens it."""
    return f"<details><summary>{escape(summary)}</summary>{html}</details>"


def colour(run: str) -> str:
    """Give a run's colour as a CSS variable: the same run has the same colour everywhere."""
    names = [*RUN_COLOURS]
    index = names.index(run) if run in names else sum(run.encode()) % len(names)
    return f"var(--run-{index})"


def page(title: str, lead: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """Write a whole page that needs nothing else; sections are (key, title, HTML)."""
    contents = "".join(f'<li><a href="#{key}">{escape(name)}</a></li>' for key, name, _ in sections)
    body = "".join(f'<section id="{key}"><h2>{escape(name)}</h2>{html}</section>\n' for key, name, html in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><main><h1>{escape(title)}</h1>{paragraph(lead, 'lead')}"
        f"<nav><ul>{contents}</ul></nav>\n{body}</main></body></html>\n"
    ).replace(" %", "\N{NO-BREAK SPACE}%")


@dataclass(frozen=True)
class LegendEntry:
    """A line of a chart: what it is called, its colour, and its dash ("" for a solid line)."""

    label: str
    colour: str
    dash: str = ""


def figure(svg: str, *, title: str, caption: str, legend: Sequence[LegendEntry] = ()) -> str:
    """Put a chart together with its title, legend and what it was measured on."""
    entries = "".join(
        f'<li><i class="{entry.dash}" style="border-color:{entry.colour}"></i>{escape(entry.label)}</li>'
        for entry in legend
    )
    listed = f'<ul class="legend">{entries}</ul>' if entries else ""
    return f"<figure>{svg}{listed}<figcaption><strong>{escape(title)}</strong>{escape(caption)}</figcaption></figure>"
