"""Training sequences as a person reads them: documents, sentinels by name, what is predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.rows import IGNORED, Row
from codellama_train.tokens.tokenizer import SentencePieceTokenizer

UNPREDICTED = ("«", "»")


def describe_row(mixture: Mixture, row: Row, *, is_first_predicted: bool) -> str:
    """Write a row as text: a heading per document, then its tokens decoded; «…» marks tokens that are not predicted.

    `is_first_predicted` tells whether the row's first token was the last label of the row before it.
    """
    predicted = np.concatenate(([is_first_predicted], row.labels[:-1] != IGNORED))
    padding = is_padding(mixture.tokenizer, row)
    lines = []
    for start, stop in stretches(row, starts=(row.input_ids == mixture.tokenizer.bos_id), padding=padding):
        source = mixture.sources[int(row.source[start])].name
        span = f"tokens {start:,} to {stop - 1:,}"
        if padding[start]:
            lines.append(f"── padding before the next of {source}, {span} ──")
            continue
        form = "infilled" if row.infilled[start] else "in order"
        whole = "" if row.input_ids[start] == mixture.tokenizer.bos_id else ", goes on from the row before"
        lines.append(f"── {source}, {form}, {span}{whole} ──")
        lines.append(decoded(mixture.tokenizer, row.input_ids[start:stop].tolist(), predicted[start:stop].tolist()))
    return "\n".join(lines)


def is_padding(tokenizer: SentencePieceTokenizer, row: Row) -> npt.NDArray[np.bool_]:
    """Tell padding from documents: EOS that nothing predicts. Shape: (sequence_length,)."""
    return np.concatenate(([False], (row.input_ids[1:] == tokenizer.eos_id) & (row.labels[:-1] == IGNORED)))


def stretches(row: Row, *, starts: npt.NDArray[np.bool_], padding: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Give where each document (or exchange of a dialogue) begins and ends, and where padding does."""
    changes = starts[1:] | (row.source[1:] != row.source[:-1]) | (padding[1:] & ~padding[:-1])
    edges: list[int] = np.flatnonzero(np.concatenate(([True], changes))).tolist()
    yield from zip(edges, [*edges[1:], len(row.input_ids)], strict=True)


def decoded(tokenizer: SentencePieceTokenizer, ids: Sequence[int], predicted: Sequence[bool]) -> str:
    """Decode tokens with control tokens by name; the implicit leading space is shown."""
    parts = []
    for is_predicted, group in groupby(zip(ids, predicted, strict=True), key=lambda pair: pair[1]):
        text = named(tokenizer, [token for token, _ in group])
        parts.append(text if is_predicted else UNPREDICTED[0] + text + UNPREDICTED[1])
    return "".join(parts)


def named(tokenizer: SentencePieceTokenizer, ids: Sequence[int]) -> str:
    """Decode tokens, writing BOS, EOS and the sentinels as ⟨NAME⟩."""
    sentinels = tokenizer.sentinels
    names = {
        tokenizer.bos_id: "BOS",
        tokenizer.eos_id: "EOS",
        sentinels.prefix: "PRE",
        sentinels.suffix: "SUF",
        sentinels.middle: "MID",
        sentinels.end: "EOT",
    }
    parts = []
    for is_named, group in groupby(ids, key=names.__contains__):
        tokens = list(group)
        parts.append(
            "".join(f"⟨{names[token]}⟩" for token in tokens) if is_named else tokenizer.decode_infilling(tokens)
        )
    return "".join(parts)
