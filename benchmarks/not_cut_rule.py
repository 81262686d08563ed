"""What it means for real code that only documents which no context boundary cuts are infilled.

One lane reads each language's files once and to the end of a window, for every context, with plain concatenation and
with best-fit packing; the counts are those of `scripts/show_batches.py --audit`. Printed as a table and as Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from corpus import (
    LANGUAGES,
    add_corpus_arguments,
    describe_machine,
    lengths_of,
    read_files,
    write_shards,
)

from codellama_train.console import UserError, print_table, run_program
from codellama_train.tokens.audit import audit
from codellama_train.tokens.fast_encoder import with_fast_encoder
from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.mixture import MixtureSource
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.shards import ShardSet
from codellama_train.tokens.tokenizer import Tokenizer

SEED = 7
FEWEST_FILES = 100


class Shares(NamedTuple):
    """Shares of documents and of tokens; `by_lengths` is that of infilled tokens as the files' lengths foretell it."""

    infilled_documents: float
    infilled_tokens: float
    by_lengths: float
    cut_documents: float
    cut_tokens: float
    restored: int
    different: int


def main(arguments: Sequence[str]) -> None:
    """Measure every language and print."""
    options = parse(arguments)
    tokenizer = with_fast_encoder(open_tokenizer(options.tokenizer))
    print(describe_machine())
    corpora, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        for language in options.languages:
            try:
                texts = read_files(options.files, LANGUAGES[language], megabytes=options.megabytes)
            except UserError:
                continue
            if len(texts) < FEWEST_FILES:
                continue
            shards = write_shards(Path(folder) / language, tokenizer, texts)
            corpora.append(row_of_corpus(language, shards))
            for length in options.sequence_length:
                for window in (None, options.window):
                    shares = measure(tokenizer, shards, length=length, window=window, rate=options.rate)
                    rows.append(row_of_shares(language, length, window, shares))
    if not rows:
        raise UserError(f"no language has {FEWEST_FILES} files; name folders of source files with --files")
    show("files", ("language", "files", "tokens", "median", "mean", "longest", "exact"), corpora)
    columns = (
        "context",
        "packing",
        "documents infilled",
        "tokens infilled",
        "by lengths",
        "documents cut",
        "tokens cut",
    )
    show(f"only documents that no boundary cuts are infilled, rate {options.rate}", ("language", *columns), rows)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_corpus_arguments(parser)
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES, default=list(LANGUAGES))
    parser.add_argument("--sequence-length", type=int, nargs="+", default=[2_048, 4_096, 16_384])
    parser.add_argument("--window", type=int, default=256, help="documents that best-fit packing arranges at a time")
    parser.add_argument("--rate", type=float, default=0.9, help="chance that an uncut document is infilled")
    return parser.parse_args(arguments)


def measure(tokenizer: Tokenizer, shards: ShardSet, *, length: int, window: int | None, rate: float) -> Shares:
    """Read as many tokens as the files have, and on to the end of a window."""
    source = MixtureSource("files", 1.0, shards, rate)
    mixture = Mixture(
        [source],
        tokenizer=tokenizer,
        sequence_length=length,
        num_lanes=1,
        seed=SEED,
        best_fit_documents=window,
    )
    num_steps, cut_tokens = count_cut_tokens(mixture, shards.num_tokens)
    found = audit(mixture, num_steps=num_steps)
    infilling, documents, restored = found["infilling"], found["documents"], found["restored_documents"]
    return Shares(
        infilled_documents=infilling["documents_fraction"],
        infilled_tokens=infilling["tokens_fraction"],
        by_lengths=foretold_share(shards, length, rate, is_best_fit=window is not None),
        cut_documents=documents["cut_by_a_context_boundary"] / documents["begun"],
        cut_tokens=cut_tokens,
        restored=restored["compared"],
        different=len(restored["different"]),
    )


def foretold_share(shards: ShardSet, length: int, rate: float, *, is_best_fit: bool) -> float:
    """Give the share of tokens infilled if documents began anywhere in a context with the same chance.

    A document of n tokens then fits with chance 1 - (n - 1) / length; with best-fit packing whenever a context holds
    it, which nothing can surpass. Infilling takes three sentinels more; words split at the cuts are left out.
    """
    plain = lengths_of(shards) + 2  # BOS and EOS
    infilled = plain + 3
    fits = infilled <= length if is_best_fit else np.maximum(0, 1 - (infilled - 1) / length)
    exact = np.array([shards.is_exact(document) for document in range(shards.num_documents)])
    chance = rate * fits * exact
    return float((chance * infilled).sum() / (chance * infilled + (1 - chance) * plain).sum())


def count_cut_tokens(mixture: Mixture, num_tokens: int) -> tuple[int, float]:
    """Give how many rows hold the tokens, in whole windows, and the share of their tokens in documents that are cut."""
    num_rows = cut = 0
    state = mixture.initial_state(0)
    while num_rows * mixture.sequence_length < num_tokens or state.window is not None:
        row, state = mixture.next_row(0, state)
        num_rows += 1
        cut += sum(piece.stop - piece.start for piece in row.segments if not piece.is_whole)
    return num_rows, cut / (num_rows * mixture.sequence_length)


def row_of_corpus(language: str, shards: ShardSet) -> tuple[str, ...]:
    """Describe the files of a language."""
    lengths = lengths_of(shards)
    exact = 1 - shards.manifest["inexact_documents"] / shards.num_documents
    counts = (shards.num_documents, shards.num_tokens, np.median(lengths), lengths.mean(), lengths.max())
    return (language, *(f"{count:,.0f}" for count in counts), f"{exact:.2%}")


def row_of_shares(language: str, length: int, window: int | None, shares: Shares) -> tuple[str, ...]:
    """Write the shares of one way of packing as percentages."""
    assert not shares.different, f"{shares.different} of {shares.restored} documents do not come back"
    packing = f"best fit of {window}" if window else "plain"
    return (language, f"{length:,}", packing, *(f"{share:.1%}" for share in shares[:5]))


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for the terminal, and for a Markdown file."""
    print_table(title, columns, rows)
    lines = [columns, ["---"] * len(columns), *rows]
    print("\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n")


if __name__ == "__main__":
    run_program(main)
