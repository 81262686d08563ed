"""Stage 8, shards: every view's documents cut, encoded and written as token shards, training side and held-out side.

Pieces of different files that say the same are kept once, on the training side if either is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codellama_train.console import Progress, UserError
from codellama_train.recipe.data import ShardView
from codellama_train.tokens.dialogue_format import FORMAT_KEY
from codellama_train.tokens.exactness import InexactCause
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.shards import ShardWriter, TokenizedDocument
from codellama_train.tokens.tokenizer import Tokenizer
from data_prep.decisions import survivors
from data_prep.documents import document_parts, write_table
from data_prep.removals import Removals, in_words
from data_prep.shard_rows import ShardRow, ShardTask, load_encoder, rows_of_task
from data_prep.split import SPLIT, SPLITS, TRAIN
from data_prep.stage import Work
from data_prep.workers import map_in_order

MEGABYTE = 1_000_000


@dataclass
class Side:
    """One side of a view being written."""

    writer: ShardWriter
    documents: int = 0
    tokens: int = 0
    num_bytes: int = 0
    inexact: Counter[InexactCause] = field(default_factory=Counter)
    origins: list[tuple[bytes, bytes, int, str]] = field(default_factory=list)  # piece, document, tokens, path

    def add(self, row: ShardRow) -> None:
        """Store a piece."""
        cause = row.inexact_cause
        self.writer.add(TokenizedDocument(row.document_id, row.ids, cause is None, row.predicted, cause))
        if cause is not None:
            self.inexact[cause] += 1
        self.origins.append((row.document_id, row.parent_id, len(row.ids), row.path))
        self.documents += 1
        self.tokens += len(row.ids)
        self.num_bytes += row.num_bytes


def run(work: Work) -> dict[str, Any]:
    """Write `<view>/train`, `<view>/held_out` and, beside each, which document every piece comes from."""
    tokenizer_folder, views = work.output_of("tokenizer"), work.recipe.shards
    tokenizer = open_tokenizer(tokenizer_folder)
    load_encoder(tokenizer_folder, tokenizer.fingerprint)  # here too, so that this log says which one is used
    removals = Removals()
    tasks = plan_tasks(work, removals)
    progress = Progress("shards", total=sum(len(task.views_of) for task in tasks), unit="documents")
    make = partial(rows_of_task, tokenizer_folder=tokenizer_folder, tokenizer=tokenizer.fingerprint, views=views)
    with ExitStack() as stack:
        sides = _open_sides(work.folder, views, tokenizer, stack)
        seen: dict[str, set[bytes]] = {view: set() for view in views}
        results = map_in_order(
            make, tasks, workers=work.workers, progress=progress, size=lambda task: len(task.views_of)
        )
        for task, (rows, left_out) in zip(tasks, results, strict=True):
            removals.merge(left_out)
            for row in rows:
                _store(row, task.split, sides, seen, removals)
    totals: dict[str, dict[str, Any]] = {view: {} for view in views}
    for (view, split), side in sides.items():
        write_table(work.folder / view / f"{split}.parquet", _origin_table(side))
        totals[view][split] = {"documents": side.documents, "tokens": side.tokens, "bytes": side.num_bytes}
        totals[view][split]["inexact_by_cause"] = dict(sorted(side.inexact.items()))
    removed = removals.as_json()
    _require_both_sides(totals, removed, views)
    return {"tokenizer": tokenizer.fingerprint, "shards": totals, "removed": removed}


def plan_tasks(work: Work, removals: Removals) -> list[ShardTask]:
    """Plan the work: all training documents by id, then all held-out ones, each with the views that take it."""
    split = pq.read_table(work.output_of("split") / SPLIT).to_pylist()
    side_of = {row["document_id"]: row["split"] for row in split}
    views_of = _views_of_documents(survivors(work, "split"), side_of, work.recipe.shards, removals)
    tasks = []
    for side in SPLITS:
        for part in document_parts(work.output_of("ingest")):
            ids = pq.read_table(part, columns=["document_id"])["document_id"].to_pylist()
            chosen = {identity: views_of[identity] for identity in ids if side_of.get(identity) == side}
            if chosen := {identity: views for identity, views in chosen.items() if views}:
                tasks.append(ShardTask(part, side, chosen))
    return tasks


def _views_of_documents(
    documents: pa.Table, side_of: Mapping[bytes, str], views: Mapping[str, ShardView], removals: Removals
) -> dict[bytes, tuple[str, ...]]:
    """Tell which views take each document; a capped one takes training documents in order of id until it is full."""
    taken: dict[str, int] = dict.fromkeys(views, 0)
    views_of: dict[bytes, tuple[str, ...]] = {}
    columns = ["document_id", "source", "language", "repository", "path", "beginning", "num_bytes"]
    for row in documents.select(columns).to_pylist():
        names = []
        for name, view in views.items():
            if row["source"] != view.source or row["language"] not in (view.languages or [row["language"]]):
                continue
            is_full = view.max_megabytes is not None and taken[name] >= view.max_megabytes * MEGABYTE
            if is_full and side_of[row["document_id"]] == TRAIN:
                path = f"{row['repository']}: {row['path']}"
                removals.add(name, "over_max_megabytes", path=path, text=row["beginning"], num_bytes=row["num_bytes"])
                continue
            taken[name] += row["num_bytes"] if side_of[row["document_id"]] == TRAIN else 0
            names.append(name)
        views_of[row["document_id"]] = tuple(names)
    return views_of


def _open_sides(
    folder: Path, views: Mapping[str, ShardView], tokenizer: Tokenizer, stack: ExitStack
) -> dict[tuple[str, str], Side]:
    """Open a shard writer for each side of each view."""
    sides = {}
    for name, view in views.items():
        for split in SPLITS:
            writer = ShardWriter(
                folder / name / split,
                kind="dialogues" if view.cut == "dialogues" else "documents",
                tokenizer_fingerprint=tokenizer.fingerprint,
                vocabulary_size=tokenizer.vocabulary_size,
                facts={"view": name, "source": view.source, "cut": view.cut, "split": split, **_format_of(view)},
            )
            sides[name, split] = Side(stack.enter_context(writer))
    return sides


def _format_of(view: ShardView) -> dict[str, str]:
    return {FORMAT_KEY: view.dialogue_format} if view.cut == "dialogues" else {}


def _store(
    row: ShardRow,
    split: str,
    sides: Mapping[tuple[str, str], Side],
    seen: Mapping[str, set[bytes]],
    removals: Removals,
) -> None:
    """Write a piece to its views, unless one stored its like before."""
    for view in row.views:
        if row.content in seen[view]:
            removals.add(view, "duplicate_piece", path=row.path, text=row.beginning, num_bytes=row.num_bytes)
        else:
            seen[view].add(row.content)
            sides[view, split].add(row)


def _origin_table(side: Side) -> pa.Table:
    """List the documents of one side in stored order, each with the ingested document it was cut from and its path."""
    pieces, parents, tokens, paths = zip(*side.origins, strict=True) if side.origins else ((), (), (), ())
    return pa.table(
        {
            "document_id": pa.array(pieces, pa.binary(16)),
            "parent_id": pa.array(parents, pa.binary(16)),
            "tokens": pa.array(tokens, pa.int64()),
            "path": pa.array(paths, pa.string()),
        }
    )


def _require_both_sides(totals: Mapping[str, Any], removed: Mapping[str, Any], views: Mapping[str, ShardView]) -> None:
    for view, sides in totals.items():
        for split, facts in sides.items():
            if not facts["documents"]:
                reasons = in_words(removed.get(view, {}))
                raise UserError(
                    f"shards.{view} has no documents on its {split} side ({reasons}); give "
                    f"sources.{views[view].source} more paths, raise shards.{view}.max_document_tokens, "
                    f"or leave [shards.{view}] out"
                )
