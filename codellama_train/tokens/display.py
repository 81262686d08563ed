"""Training sequences as a person reads them: documents, sentinels by name, what is predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.rows import IGNORED, Row, Segment
from codellama_train.tokens.tokenizer import Tokenizer


class Shown(NamedTuple):
    """A piece of what is shown: a heading, a control token by name, or text."""

    text: str
    is_heading: bool = False
    is_control: bool = False
    is_predicted: bool = True


def describe_row(mixture: Mixture, row: Row, *, is_first_predicted: bool) -> Iterator[Shown]:
    """Tell a row: a heading per document, then its tokens decoded; «…» marks tokens that are not predicted.

    `is_first_predicted` tells whether the row's first token was the last label of the row before it.
    """
    predicted = np.concatenate(([is_first_predicted], row.labels[:-1] != IGNORED))
    for segment in row.segments:
        yield Shown(f"{heading(mixture, segment)}\n", is_heading=True)
        if segment.form != "padding":
            ids = row.input_ids[segment.start : segment.stop]
            yield from decoded(mixture.tokenizer, ids, predicted[segment.start : segment.stop])
            yield Shown("\n")


def heading(mixture: Mixture, segment: Segment) -> str:
    """Name a segment's source and document, its form and its place."""
    source, document = mixture.sources[segment.origin.source], segment.origin.document
    name = source.shards.document_id(document).hex()[:12]
    if path := document_path(source.shards.folder, document):
        name = f"{name} ({path})"
    span = f"tokens {segment.start:,} to {segment.stop - 1:,}"
    if segment.form == "padding":
        return f"── padding before {source.name} {name}, {span} ──"
    form = {"psm": "infilled PSM", "spm": "infilled SPM"}.get(segment.form, segment.form)
    part = "" if segment.is_whole else f", from its token {segment.offset:,} of {segment.length:,}"
    return f"── {source.name} {name}, epoch {segment.origin.epoch}, {form}, {span}{part} ──"


def document_path(shards: Path, document: int) -> str | None:
    """Look a document's repository and path up in the table that data preparation leaves beside the shards."""
    table = shards.with_suffix(".parquet")
    if not table.is_file():
        return None
    file = pq.ParquetFile(table)
    if "path" not in file.schema_arrow.names:
        return None
    for group in range(file.num_row_groups):
        num_rows = file.metadata.row_group(group).num_rows
        if document < num_rows:
            path: str = file.read_row_group(group, columns=["path"])["path"][document].as_py()
            return path
        document -= num_rows
    return None


def decoded(
    tokenizer: Tokenizer, ids: Sequence[int] | npt.NDArray[np.int64], predicted: Sequence[bool] | npt.NDArray[np.bool_]
) -> Iterator[Shown]:
    """Decode tokens with control tokens by name; the implicit leading space is shown."""
    for is_predicted, group in groupby(zip(ids, predicted, strict=True), key=lambda pair: bool(pair[1])):
        if not is_predicted:
            yield Shown("«", is_predicted=False)
        for shown in named(tokenizer, [int(token) for token, _ in group]):
            yield shown._replace(is_predicted=is_predicted)
        if not is_predicted:
            yield Shown("»", is_predicted=False)


def named(tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[Shown]:
    """Decode tokens, writing BOS, EOS and the sentinels as ⟨NAME⟩."""
    names = control_names(tokenizer)
    for is_named, group in groupby(ids, key=names.__contains__):
        if is_named:
            yield from (Shown(f"⟨{names[token]}⟩", is_control=True) for token in group)
        else:
            yield Shown(tokenizer.decode_infilling(list(group)))


def control_names(tokenizer: Tokenizer) -> dict[int, str]:
    """Name the control tokens that training sequences hold; EOS where it serves as BOS too is called that."""
    sentinels = tokenizer.sentinels
    return {
        tokenizer.eos_id: "EOS",
        tokenizer.bos_id: "BOS",
        tokenizer.step_id: "STEP",
        sentinels.prefix: "PRE",
        sentinels.suffix: "SUF",
        sentinels.middle: "MID",
        sentinels.end: "EOT",
    }
