"""Texts to read: what models put into gaps, how they go on, what they answer."""

from __future__ import annotations

from html import escape
from typing import Any

from codellama_train.report.markup import details, missing, paragraph
from codellama_train.report.pipeline import Pipeline

GAPS_SHOWN = 6
CONTEXT_CHARACTERS = 500


def samples_section(pipeline: Pipeline) -> str:
    """Show infilled gaps beside the truth, then continuations and answers."""
    return "".join(part(pipeline) for part in (_gaps, _completions, _answers))


def _gaps(pipeline: Pipeline) -> str:
    title = "<h3>Gaps, filled by the code model</h3>"
    run = pipeline.runs.get("code")
    items = run.items.get("infilling") if run else None
    if not items:
        return title + missing("infilling scores of the code model")
    parts = [title, paragraph("Marked blue: what the model wrote (PSM, greedy); green: what stood there.", "note")]
    for kind, name in (("single_line", "single line"), ("random_span", "random span")):
        shown = [index for index, middle in enumerate(items[kind]["middle"]) if middle.strip()][:GAPS_SHOWN]
        for number, index in enumerate(shown, start=1):
            html = gap(items[kind], index)
            parts.append(html if number == 1 else details(f"another {name} ({number} of {len(shown)})", html))
    return "".join(parts)


def gap(items: dict[str, Any], index: int) -> str:
    """Show one gap twice: filled by the model, and as it was."""
    prefix, suffix = items["prefix"][index], items["suffix"][index]
    written, truth = items["generated"]["psm"][index], items["middle"][index]
    before = f'<span class="given">{escape(prefix[-CONTEXT_CHARACTERS:])}</span>'
    after = f'<span class="given">{escape(suffix[:CONTEXT_CHARACTERS])}</span>'
    return (
        f'<pre class="gap">{before}<mark>{escape(written) or "∅"}</mark>\n'
        f'<mark class="truth">{escape(truth)}</mark>{after}</pre>'
    )


def _completions(pipeline: Pipeline) -> str:
    return _texts(pipeline, "completions", "Continuations", ("code", "code_from_scratch", "python"))


def _answers(pipeline: Pipeline) -> str:
    return _texts(pipeline, "answers", "Answers", ("instruct", "long_context"))


def _texts(pipeline: Pipeline, kind: str, title: str, names: tuple[str, ...]) -> str:
    parts = []
    for name in names:
        run = pipeline.runs.get(name)
        samples = run.items.get("samples", {}).get(kind, []) if run else []
        if samples:
            texts = "".join(text(sample) for sample in samples)
            parts.append(details(f"{name}: {len(samples)}", texts))
    return f"<h3>{escape(title)}</h3>" + ("".join(parts) or missing(f"{kind} of {' or '.join(names)}"))


def text(sample: dict[str, Any]) -> str:
    """Show a prompt, what the model wrote, and whether it stopped by itself."""
    end = "" if sample["is_finished"] else ' <span class="given">… (stopped by the limit)</span>'
    return f'<pre><span class="given">{escape(sample["prompt"])}</span><mark>{escape(sample["text"])}</mark>{end}</pre>'
