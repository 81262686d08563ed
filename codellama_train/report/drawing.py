"""Charts as inline SVG that follow the page's colours, in light and in dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from codellama_train.report.style import RUN_COLOURS

# matplotlib wants real colours; these stand for CSS variables and are replaced in its output.
INK, MUTED, LINE = "#010203", "#010204", "#010205"
PLACEHOLDERS = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"} | {
    f"#0102{16 + index:02x}": f"var(--run-{index})" for index in range(len(RUN_COLOURS))
}
VARIABLES = {variable: placeholder for placeholder, variable in PLACEHOLDERS.items()}
DASHES = {"": "-", "dashed": (0, (4, 2.5)), "dotted": (0, (1, 2))}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"

SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
}


@contextmanager
def chart(*, height: float, label: str) -> Iterator[tuple[Figure, list[str]]]:
    """Give a figure to draw on; when the block ends, its SVG stands in the list.

    The width is that of a phone, so that text keeps its size there; `label` is what a screen reader says.
    """
    result: list[str] = []
    with rc_context(SETTINGS | {"svg.hashsalt": label}):
        drawing = Figure(figsize=(4.6, height), layout="constrained")
        yield drawing, result
        buffer = io.StringIO()
        drawing.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    result.append(as_inline(buffer.getvalue(), label))


def as_inline(svg: str, label: str) -> str:
    """Strip what only a file needs, and let fonts and colours be the page's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'<svg [^>]*viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{escape(label)}">', svg
    )
    svg = re.sub(r"xlink:href", "href", svg)
    svg = re.sub(r"font: ([0-9.]+px) [^;\"]*", rf"font: \1 {FONT}", svg)
    for placeholder, variable in PLACEHOLDERS.items():
        svg = svg.replace(placeholder, variable)
    return svg.strip()


def paint(variable: str) -> str:
    """Give the colour that stands for a CSS variable in matplotlib's hands."""
    return VARIABLES[variable]


def strip(*, value: float, low: float, high: float, marks: Sequence[tuple[float, str]], colour: str) -> str:
    """Draw an interval beside zero and, where there is one, the paper's value."""
    points = [0.0, low, high, *(at for at, _ in marks)]
    left, right = min(points), max(points)
    span = (right - left) or 1.0

    def at(number: float) -> float:
        return round(10 + 260 * (number - left) / span, 1)

    drawn = [
        f'<line x1="{at(0)}" x2="{at(0)}" y1="2" y2="20" stroke="var(--muted)"/>',
        f'<text x="{at(0)}" y="29" text-anchor="middle">0</text>',
        f'<line x1="{at(low)}" x2="{at(high)}" y1="11" y2="11" stroke="{colour}" stroke-width="3"/>',
        f'<circle cx="{at(value)}" cy="11" r="5" fill="{colour}"/>',
    ]
    for position, name in marks:
        drawn.append(
            f'<path d="M{at(position)} 4 l5 7 l-5 7 l-5 -7 z" fill="none" stroke="var(--ink)" stroke-width="1.5">'
            f"<title>{escape(name)}</title></path>"
        )
    style = 'font-size="9" fill="var(--muted)"'
    described = f"{value:+.3f}, interval {low:+.3f} to {high:+.3f}"
    return f'<svg class="strip" viewBox="0 0 280 30" role="img" aria-label="{described}" {style}>{"".join(drawn)}</svg>'
