"""The workers' part of the shards stage: documents of one task cut, encoded, and counted where left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from codellama_train.recipe.data import Cut, ShardView
from codellama_train.tokens.dialogue_format import DialogueFormat
from codellama_train.tokens.exactness import InexactCause
from codellama_train.tokens.fast_encoder import with_fast_encoder
from codellama_train.tokens.open_tokenizer import open_tokenizer
from data_prep.removals import Removals
from data_prep.shards.pieces import Piece, PieceEncoder, content_of, holds_chat_tag, piece_id, pieces_of


class Way(NamedTuple):
    """How a view makes rows of a document."""

    cut: Cut
    max_tokens: int | None
    dialogue_format: DialogueFormat


@dataclass(frozen=True)
class ShardRow:
    """One encoded piece and the views that store it; for `inexact_cause` and `predicted` see `Encoded`."""

    views: tuple[str, ...]
    document_id: bytes
    parent_id: bytes
    content: bytes
    path: str
    language: str
    license: str | None
    beginning: str
    num_bytes: int
    ids: npt.NDArray[np.uint32]
    inexact_cause: InexactCause | None
    predicted: npt.NDArray[np.bool_] | None


def rows_of_documents(
    documents: Iterable[tuple[dict[str, Any], Sequence[str]]],
    encoder: PieceEncoder,
    views: Mapping[str, ShardView],
    removals: Removals,
) -> Iterator[ShardRow]:
    """Cut and encode documents, each given with the names of the views that take it."""
    for document, names in documents:
        for way, same in _same_cuts(names, views).items():
            yield from _rows_of_document(document, way, same, encoder, removals)
        encoder.forget()


@lru_cache(maxsize=1)
def load_encoder(tokenizer_folder: Path, tokenizer: str) -> PieceEncoder:
    """Load the tokenizer once in a process's life, with the fast encoder where there is one."""
    loaded = open_tokenizer(tokenizer_folder)
    assert loaded.fingerprint == tokenizer, (loaded.fingerprint, tokenizer)
    return PieceEncoder(with_fast_encoder(loaded))


def _same_cuts(names: Sequence[str], views: Mapping[str, ShardView]) -> dict[Way, tuple[str, ...]]:
    """Group views that cut and encode a document alike, so that it is done once for all of them."""
    groups: dict[Way, tuple[str, ...]] = {}
    for name in names:
        view = views[name]
        way = Way(view.cut, view.max_document_tokens, view.dialogue_format)
        groups[way] = (*groups.get(way, ()), name)
    return groups


def _rows_of_document(
    document: dict[str, Any],
    way: Way,
    views: tuple[str, ...],
    encoder: PieceEncoder,
    removals: Removals,
) -> Iterator[ShardRow]:
    """Give the encoded pieces of one document, counting those that are left out."""
    path = f"{document['repository']}: {document['path']}"
    text, language, max_tokens = document["text"], document["language"], way.max_tokens

    def leave_out(reason: str, piece_text: str) -> None:
        for view in views:
            removals.add(view, reason, path=path, text=piece_text, num_bytes=len(piece_text.encode()))

    try:
        pieces = list(pieces_of(text, language, way.cut, encoder.fits_in(max_tokens) if max_tokens else _anything_fits))
    except SyntaxError as error:
        leave_out("does_not_parse", f"{error}\n{text}")
        return
    for index, piece in enumerate(pieces):
        reason = _reason_against(piece, max_tokens, encoder)
        encoded = None if reason else encoder.encode(piece, way.dialogue_format)
        if encoded is None or (max_tokens is not None and len(encoded.ids) > max_tokens):
            leave_out(reason or "over_max_document_tokens", piece.text)
            continue
        yield ShardRow(
            views=views,
            document_id=piece_id(document["document_id"], way.cut, index),
            parent_id=document["document_id"],
            content=content_of(piece),
            path=path,
            language=language,
            license=document["license"],
            beginning=piece.text[:200],
            num_bytes=len(piece.text.encode()),
            ids=np.asarray(encoded.ids, dtype=np.uint32),
            inexact_cause=encoded.inexact_cause,
            predicted=None if encoded.predicted is None else np.asarray(encoded.predicted, dtype=np.bool_),
        )


def _anything_fits(_: str) -> bool:
    return True


def _reason_against(piece: Piece, max_tokens: int | None, encoder: PieceEncoder) -> str | None:
    """Say why a piece goes before it is encoded, if it does."""
    if holds_chat_tag(piece.messages):
        return "holds_chat_tag"
    if max_tokens is not None and not encoder.is_possible(piece.text, max_tokens):
        return "over_max_document_tokens"
    return None
