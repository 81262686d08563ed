"""Probe: the loss of held-out documents by source, each document alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codellama_train.console import UserError
from codellama_train.evaluation.held_out import choose
from codellama_train.evaluation.measurement import Measurement, Subject
from codellama_train.recipe.evaluation import HeldOutLoss


@dataclass(frozen=True)
class ScoredDocument:
    """A document as it is scored: its ids, which of those after the first count, and the bytes of their text."""

    document_id: str
    ids: list[int]
    is_counted: list[bool]
    num_bytes: int


def measure_held_out_loss(subject: Subject, probe: HeldOutLoss) -> Measurement:
    """Give nats per token and bits per byte for each source.

    A document is scored as BOS, its tokens, EOS; one longer than the probe's sequence is cut and has no EOS. Of a
    dialogue only the answers count. Bits per byte are all counted nats over the UTF-8 bytes of the text they write, so
    the nats of EOS are part of what a text costs.
    """
    summary, items = {}, {}
    for source in probe.documents:
        documents = held_out_documents(subject, source, probe)
        nats = subject.nats_per_token([document.ids for document in documents])
        sums = [float(each[np.asarray(doc.is_counted)].sum()) for each, doc in zip(nats, documents, strict=True)]
        tokens = [sum(document.is_counted) for document in documents]
        num_bytes = [document.num_bytes for document in documents]
        summary[source] = {
            "documents": len(documents),
            "tokens": sum(tokens),
            "bytes": sum(num_bytes),
            "nats_per_token": subject.ratio(sums, tokens),
            "bits_per_byte": subject.ratio([nats / math.log(2) for nats in sums], num_bytes),
        }
        ids = [document.document_id for document in documents]
        items[source] = {"id": ids, "nats": sums, "tokens": tokens, "bytes": num_bytes}
    return Measurement(summary, items)


def held_out_documents(subject: Subject, source: str, probe: HeldOutLoss) -> list[ScoredDocument]:
    """Draw the documents of a source that the probe scores, in stored order."""
    shards = subject.held_out.shards(source)
    candidates = [index for index in range(shards.num_documents) if shards.length(index)]
    prepare = _dialogue if shards.kind == "dialogues" else _document
    chosen = choose(candidates, count=probe.documents[source], seed=subject.recipe.seed)
    documents = [prepare(subject, source, index, probe.sequence_length) for index in chosen]
    scorable = [document for document in documents if any(document.is_counted) and document.num_bytes]
    if not scorable:
        raise UserError(
            f"of source {source!r} none of {len(documents)} held-out documents has a token to score within "
            f"loss.sequence_length={probe.sequence_length}; raise it or take the source out of loss.documents"
        )
    return scorable


def _document(subject: Subject, source: str, index: int, sequence_length: int) -> ScoredDocument:
    tokenizer, shards = subject.loaded.tokenizer, subject.held_out.shards(source)
    body = shards.ids(index).tolist()
    ids = [tokenizer.bos_id, *body, tokenizer.eos_id][:sequence_length]
    num_bytes = _num_bytes(subject, ids[1:])
    return ScoredDocument(shards.document_id(index).hex(), ids, [True] * (len(ids) - 1), num_bytes)


def _dialogue(subject: Subject, source: str, index: int, sequence_length: int) -> ScoredDocument:
    shards = subject.held_out.shards(source)
    ids = shards.ids(index).tolist()[:sequence_length]
    is_counted = shards.predicted(index).tolist()[1:sequence_length]
    answer = [token for token, counted in zip(ids[1:], is_counted, strict=True) if counted]
    return ScoredDocument(shards.document_id(index).hex(), ids, is_counted, _num_bytes(subject, answer))


def _num_bytes(subject: Subject, ids: Sequence[int]) -> int:
    """Count the UTF-8 bytes of the text; a character cut in half at the end counts as three."""
    return len(subject.loaded.tokenizer.decode(ids).encode())
