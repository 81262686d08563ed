"""What came out: token shards, and the epochs that training recipes draw of them beside the paper's table 1."""

from __future__ import annotations

from html import escape

from codellama_train.report.data_run import DataRun
from codellama_train.report.funnel_sections import size_of, tokens_of
from codellama_train.report.markup import ABSENT, Cell, meter, missing, paragraph, percent, table
from codellama_train.report.paper import MIXTURE_OF_RUN, MIXTURES, MixtureRow
from codellama_train.tokens.implied_epochs import ImpliedSource, mixtures

SIDES = {"train": "to train on", "held_out": "held out"}


def shards_section(run: DataRun) -> str:
    """List every set of shards with its tokens."""
    rows: list[list[str | int | Cell]] = []
    for view, sides in run.report["shards"].items():
        for split, name in SIDES.items():
            side = sides[split]
            manifest = run.view_manifest(view, split) or {}
            rows.append(
                [
                    Cell(f"<strong>{escape(view)}</strong>" if split == "train" else "", "text"),
                    name,
                    str(manifest.get("cut", "")),
                    side["documents"],
                    Cell(f"{side['tokens']:,}"),
                    Cell(size_of(side["bytes"]) if "bytes" in side else ""),
                    Cell(f"{side['bytes_per_token']:.2f}"),
                    Cell(f"{side['tokens'] / (side['documents'] or 1):,.0f}"),
                    Cell(f"{manifest['longest_document']:,}") if "longest_document" in manifest else ABSENT,
                    sum(side.get("inexact_by_cause", {}).values()),
                ]
            )
    of_text = ["documents", "tokens", "text", "bytes per token", "tokens per document", "longest", "not exact"]
    tokenizer = run.report["tokenizer"]
    note = (
        f"Tokenizer {tokenizer['tokenizer'][:12]} of {tokenizer['vocabulary_size']:,} ids. A document that is not "
        "exact does "
        "not come back from its ids letter for letter; it is trained on, but never infilled."
    )
    return table(["shards", "side", "cut", *of_text], rows) + paragraph(note, "note")


def epochs_section(run: DataRun) -> str:
    """Show what training recipes draw of these shards as the paper's table 1 does, beside its own numbers."""
    if not run.recipes:
        return missing("a training recipe that draws from these shards; name some with --recipes")
    note = (
        "Share is of tokens. Tokens there are those of one epoch as training reads it, BOS and EOS included. The last "
        "column is how many tokens the source would need for the paper's number of epochs. The paper draws 500B tokens "
        "for code and 100B for Python (table 1); for instruct it gives shares only (section 2.5)."
    )
    return paragraph(note, "note") + "".join(_mixture(names, sources) for names, sources in mixtures(run.recipes))


def _mixture(names: list[str], sources: list[ImpliedSource]) -> str:
    """Write one mixture with the names of the recipes that draw it."""
    stages = (MIXTURE_OF_RUN.get(name.rsplit("/", 1)[-1]) for name in names)
    paper = next((MIXTURES[stage] for stage in stages if stage), {})
    columns = ["source", "share", "paper", "tokens drawn", "tokens there", "epochs", "paper", "for the paper's epochs"]
    rows = [_mixture_row(source, paper.get(source.name)) for source in sources]
    return f"<h3>{escape(', '.join(names))}</h3>{table(columns, rows)}"


def _mixture_row(source: ImpliedSource, paper: MixtureRow | None) -> list[str | Cell]:
    there, epochs = source.tokens_available, source.epochs
    needed = source.tokens_drawn / float(paper.epochs) if paper and _is_positive(paper.epochs) else None
    return [
        source.name,
        Cell(percent(source.share) + meter(source.share)),
        Cell(percent(paper.share)) if paper else ABSENT,
        Cell(tokens_of(source.tokens_drawn)),
        Cell(tokens_of(there)) if there is not None else Cell("no shards yet"),
        Cell(f"{epochs:.2f}") if epochs is not None else ABSENT,
        Cell(escape(paper.epochs)) if paper else ABSENT,
        Cell(tokens_of(needed)) if needed is not None else ABSENT,
    ]


def _is_positive(epochs: str) -> bool:
    return epochs.replace(".", "").isdigit() and float(epochs) > 0
