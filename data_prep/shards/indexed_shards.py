"""Shards to Megatron's pair of files and back, with what the pair itself has no place for in small files beside it.

`PREFIX.json` names the tokenizer and vouches for the other files, `PREFIX.ids` and `PREFIX.exact` are the documents'
ids and exact marks as shards store them. A pair without them, from another tool, is checked document by document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from codellama_train import artifacts
from codellama_train.console import Progress, UserError
from codellama_train.tokens.exactness import InexactCause
from codellama_train.tokens.fast_encoder import with_fast_encoder
from codellama_train.tokens.megatron import IndexedTokens, index_path, open_indexed, tokens_path, write_indexed
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.shards import DOCUMENT_ID_BYTES, ShardSet, ShardWriter, TokenizedDocument
from codellama_train.tokens.tokenizer import IdArray, Tokenizer
from data_prep.documents import digest
from data_prep.workers import map_in_order

DOCUMENTS_PER_TASK = 2_000
CARRIED = ("view", "source", "cut", "split")  # facts of a shard set that are true of a copy of it


def export_shards(folder: Path, prefix: Path, tokenizer: Tokenizer, *, append_eos: bool) -> ShardSet:
    """Write a shard set as `PREFIX.bin` and `PREFIX.idx`, and beside them what brings it back unchanged."""
    if index_path(prefix).exists():
        raise UserError(f"{index_path(prefix)} exists already; remove it or name another prefix")
    shards = ShardSet(folder)
    shards.require_tokenizer(tokenizer.fingerprint, tokenizer.vocabulary_size)
    write_indexed(shards, prefix, eos_id=tokenizer.eos_id if append_eos else None)
    for name in ("ids", "exact"):
        with _beside(prefix, name).open("wb") as file:
            for shard in range(len(shards.manifest["shards"])):
                file.write(shards.stored(shard, name).tobytes())
    written = [tokens_path(prefix), index_path(prefix), _beside(prefix, "ids"), _beside(prefix, "exact")]
    facts = {
        "tokenizer": tokenizer.fingerprint,
        "vocabulary_size": tokenizer.vocabulary_size,
        "facts": {name: shards.manifest[name] for name in CARRIED if name in shards.manifest},
        "inexact_by_cause": shards.manifest["inexact_by_cause"],
        "files": {path.name: artifacts.vouch_for(path) for path in written},
    }
    artifacts.write_json(_beside(prefix, "json"), facts)
    return shards


def import_shards(prefix: Path, folder: Path, tokenizer_folder: Path, *, workers: int) -> ShardSet:
    """Write a pair of files as a shard set; BOS and EOS around a document go, since packing adds them."""
    if folder.exists():
        raise UserError(f"{folder} exists already; remove it or name another folder")
    tokenizer, indexed = open_tokenizer(tokenizer_folder), open_indexed(prefix)
    known = _what_is_known(prefix, tokenizer, indexed)
    tasks = [
        range(start, min(start + DOCUMENTS_PER_TASK, indexed.num_documents))
        for start in range(0, indexed.num_documents, DOCUMENTS_PER_TASK)
    ]
    read = partial(_read_documents, prefix=prefix, tokenizer_folder=tokenizer_folder, known=known)
    progress = Progress(f"reading {index_path(prefix).name}", total=indexed.num_documents, unit="documents")
    removed: Counter[str] = Counter()
    facts = {**(known.facts if known else {}), "imported_from": prefix.name, "removed": removed}
    with (
        artifacts.new_folder(folder) as partial_folder,
        ShardWriter(
            partial_folder,
            kind="documents",
            tokenizer_fingerprint=tokenizer.fingerprint,
            vocabulary_size=tokenizer.vocabulary_size,
            facts=facts,
        ) as writer,
    ):
        for documents, counts in map_in_order(read, tasks, workers=workers, progress=progress, size=len):
            removed.update(counts)
            for document in documents:
                writer.add(document)
    return ShardSet(folder)


@dataclass(frozen=True)
class Known:
    """What the files beside a pair say of it: the facts of the shards, and each document's id and exact mark."""

    facts: dict[str, Any]
    cause: InexactCause | None  # of documents that are not exact, where they share one
    ids_path: Path
    exact_path: Path


def _what_is_known(prefix: Path, tokenizer: Tokenizer, indexed: IndexedTokens) -> Known | None:
    """Read the files beside a pair; None where another tool wrote it."""
    path = _beside(prefix, "json")
    if not path.is_file():
        return None
    stored = artifacts.read_json(path)
    if stored["tokenizer"] != tokenizer.fingerprint:
        raise UserError(
            f"{path} says that tokenizer {stored['tokenizer'][:12]} ({stored['vocabulary_size']:,} ids) wrote this "
            f"pair, but the one named is {tokenizer.fingerprint[:12]} ({tokenizer.vocabulary_size:,} ids)"
        )
    if damage := artifacts.damage_in(prefix.parent, stored["files"]):
        raise UserError(f"{damage[0]}; remove {path} to have every document checked anew")
    causes = list(stored["inexact_by_cause"])
    assert len(indexed.document_bounds) - 1 == _beside(prefix, "exact").stat().st_size, prefix
    return Known(
        stored["facts"], causes[0] if len(causes) == 1 else None, _beside(prefix, "ids"), _beside(prefix, "exact")
    )


def _beside(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(f"{prefix.name}.{suffix}")


def _read_documents(
    documents: range, *, prefix: Path, tokenizer_folder: Path, known: Known | None
) -> tuple[list[TokenizedDocument], Counter[str]]:
    """Read some documents of a pair; runs in a worker."""
    tokenizer, indexed = _opened(tokenizer_folder, prefix)
    removed: Counter[str] = Counter()
    bare = [_without_ends(indexed.ids(number), tokenizer, removed) for number in documents]
    if known is not None:
        return list(_as_known(bare, documents, known)), removed
    return [_as_checked(ids, number, tokenizer) for number, ids in zip(documents, bare, strict=True)], removed


@lru_cache(maxsize=1)
def _opened(tokenizer_folder: Path, prefix: Path) -> tuple[Tokenizer, IndexedTokens]:
    return with_fast_encoder(open_tokenizer(tokenizer_folder)), open_indexed(prefix)


def _without_ends(ids: IdArray, tokenizer: Tokenizer, removed: Counter[str]) -> IdArray:
    """Remove what another tool put around a document: BOS before it and EOS after it."""
    if len(ids) and ids[0] == tokenizer.bos_id:
        removed["bos"] += 1
        ids = ids[1:]
    if len(ids) and ids[-1] == tokenizer.eos_id:
        removed["eos"] += 1
        ids = ids[:-1]
    return ids


def _as_known(bare: list[IdArray], documents: range, known: Known) -> Iterator[TokenizedDocument]:
    """Give documents the ids and exact marks that they had."""
    start, count = documents.start, len(documents)
    names = np.fromfile(known.ids_path, "u1", count * DOCUMENT_ID_BYTES, offset=start * DOCUMENT_ID_BYTES).tobytes()
    exact = np.fromfile(known.exact_path, "u1", count, offset=start)
    for index, ids in enumerate(bare):
        name = names[index * DOCUMENT_ID_BYTES : (index + 1) * DOCUMENT_ID_BYTES]
        is_exact = bool(exact[index])
        yield TokenizedDocument(name, ids, is_exact, inexact_cause=None if is_exact else known.cause)


def _as_checked(ids: IdArray, number: int, tokenizer: Tokenizer) -> TokenizedDocument:
    """Name a document by its place and tokens; it is exact where its ids are those of the text that they spell."""
    listed = ids.tolist()
    _require_vocabulary(listed, number, tokenizer)
    is_exact = tokenizer.encode(tokenizer.decode(listed)) == listed
    name = digest(number.to_bytes(8, "little") + np.asarray(listed, dtype="<u4").tobytes())
    return TokenizedDocument(name, ids, is_exact, inexact_cause=None if is_exact else "other")


def _require_vocabulary(ids: list[int], number: int, tokenizer: Tokenizer) -> None:
    """Refuse ids that the tokenizer does not have: then it is not the one that the pair was written with."""
    if ids and not (min(ids) >= 0 and max(ids) < tokenizer.vocabulary_size):
        wrong = min(ids) if min(ids) < 0 else max(ids)
        raise UserError(
            f"document {number:,} holds the id {wrong:,}, but the tokenizer named has the ids 0 to "
            f"{tokenizer.vocabulary_size - 1:,}; name the tokenizer that the pair was written with"
        )
