"""The rows that validation measures: held-out documents in stored order, cut as training cuts them, without infilling.

Which rows these are depends on the shards, the tokenizer and the sequence length alone: not on the step, the ranks or
the training recipe's seed. Imports no torch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from codellama_train import artifacts
from codellama_train.tokens.mixture import MixtureSource
from codellama_train.tokens.rows import IGNORED, Form, Origin, Row, RowWriter
from codellama_train.tokens.shards import ShardSet
from codellama_train.tokens.tokenizer import Tokenizer

T = TypeVar("T")

logger = logging.getLogger(__name__)


def held_out_rows(
    name: str, folder: Path, *, tokenizer: Tokenizer, sequence_length: int, num_rows: int, document_mask: bool
) -> list[Row]:
    """Give a source's first rows with anything to predict; fewer, said once, where the shards hold fewer."""
    manifest = artifacts.read_manifest(folder)
    rows: list[Row] = []
    if manifest is None or manifest.get("tokens", 1):  # no held-out document at all is few of them, not a mistake
        shards = ShardSet(folder)
        shards.require_tokenizer(tokenizer.fingerprint, tokenizer.vocabulary_size)
        walk = rows_in_stored_order(
            MixtureSource(name, 1.0, shards),
            tokenizer=tokenizer,
            sequence_length=sequence_length,
            document_mask=document_mask,
        )
        rows = list(islice((row for row in walk if (row.labels != IGNORED).any()), num_rows))
    if len(rows) < num_rows:
        logger.warning(
            "validation.shards.%s: %s holds %s of the %s sequences asked for; all of them are used",
            *(name, folder, len(rows), num_rows),
        )
    return rows


def rows_in_stored_order(
    source: MixtureSource, *, tokenizer: Tokenizer, sequence_length: int, document_mask: bool
) -> Iterator[Row]:
    """Lay a source's documents end to end and cut them into rows; the last one is padded."""

    def new_writer() -> RowWriter:
        return RowWriter(
            sequence_length, bos_id=tokenizer.bos_id, eos_id=tokenizer.eos_id, are_documents_masked=document_mask
        )

    form: Form = "dialogue" if source.is_dialogues else "in order"
    writer = new_writer()
    for document in range(source.shards.num_documents):
        length, origin, offset = source.stream_length(document), Origin(0, document, 0), 0
        if source.is_dialogues and writer.room < sequence_length and length > writer.room:
            writer.pad(origin)  # it waits for a row of its own, as in training
        while offset < length:
            if not writer.room:
                yield writer.finish(next_form=None if offset else form)
                writer = new_writer()
            offset += _add(writer, source, origin, offset)
    if writer.room < sequence_length:
        if writer.room:
            writer.pad(Origin(0, source.shards.num_documents - 1, 0))
        yield writer.finish(next_form=form)


def _add(writer: RowWriter, source: MixtureSource, origin: Origin, offset: int) -> int:
    ids = source.shards.ids(origin.document)
    if source.is_dialogues:
        return writer.add_dialogue(origin, ids, source.shards.predicted(origin.document), offset)
    return writer.add_plain(origin, ids, offset)


def share_of_rank(rows: Sequence[T], *, rank: int, num_ranks: int, rows_per_pass: int, padding: T) -> list[list[T]]:
    """Give a rank's rows, a list for each forward pass, filled up with `padding`.

    All ranks have equally many passes: at ZeRO stage 3 they gather weights together.
    """
    num_passes = -(-len(rows) // (num_ranks * rows_per_pass))
    own = [*rows[rank::num_ranks], *[padding] * (num_passes * rows_per_pass)]
    return [own[start : start + rows_per_pass] for start in range(0, num_passes * rows_per_pass, rows_per_pass)]
