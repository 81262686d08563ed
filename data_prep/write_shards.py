"""Stage 8, shards: every view's documents cut, encoded and written as token shards, training side and held-out side.

Pieces of different files that say the same are kept once, on the training side if either is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from codellama_train.console import UserError, with_progress
from codellama_train.recipe.data import ShardView
from codellama_train.tokens.dialogue_format import FORMAT_KEY
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.shards import ShardWriter, TokenizedDocument
from codellama_train.tokens.tokenizer import Tokenizer
from data_prep.documents import write_table
from data_prep.parts import part_names
from data_prep.removals import Removals, in_words
from data_prep.shards.chunks import read_chunk
from data_prep.shards.encode_parts import CHUNKS, chunk_name, encode_part, last_taken
from data_prep.shards.origins import Origin, facts_of_side, origin_of, origin_table
from data_prep.shards.shard_rows import ShardRow, load_encoder
from data_prep.split import SPLITS
from data_prep.work import Work


@dataclass(frozen=True)
class Side:
    """One side of a view being written."""

    writer: ShardWriter
    origins: list[Origin] = field(default_factory=list)

    def add(self, row: ShardRow) -> None:
        """Store a piece."""
        cause = row.inexact_cause
        self.writer.add(TokenizedDocument(row.document_id, row.ids, cause is None, row.predicted, cause))
        self.origins.append(origin_of(row))


def run(work: Work) -> dict[str, Any]:
    """Write `<view>/train`, `<view>/held_out` and, beside each, which document every piece comes from."""
    tokenizer_folder, views = work.output_of("tokenizer"), work.recipe.shards
    tokenizer = open_tokenizer(tokenizer_folder)
    load_encoder(tokenizer_folder, tokenizer.fingerprint)  # here too, so that this log says which one is used
    encode = partial(
        encode_part,
        run_dir=work.run_dir,
        views=views,
        last_taken=last_taken(work),
        redaction=work.recipe.redaction,
        tokenizer=tokenizer.fingerprint,
    )
    parts = part_names(work.run_dir)
    made = work.produce(encode, parts, name=str, description="shards", unit="parts", into=CHUNKS)
    removals = Removals()
    for facts in made:
        removals.merge(Removals.from_json(facts["removed"]))
    totals = _assemble(work, tokenizer, removals)
    removed = removals.as_json()
    _require_both_sides(totals, removed, views)
    return {"tokenizer": tokenizer.fingerprint, "shards": totals, "removed": removed}


def _assemble(work: Work, tokenizer: Tokenizer, removals: Removals) -> dict[str, dict[str, Any]]:
    """Put the parts' chunks together into shards, the training side first; gives the counts."""
    views = work.recipe.shards
    with ExitStack() as stack:
        sides = _open_sides(work.folder, views, tokenizer, stack)
        # Equal files went in deduplication; equal functions of different files are only known here.
        seen: dict[str, set[bytes]] = {name: set() for name, view in views.items() if view.cut != "files"}
        chunks = [(split, part) for split in SPLITS for part in part_names(work.run_dir)]
        for split, part in with_progress(chunks, "shards: put together", total=len(chunks), unit="chunks"):
            for row in read_chunk(work.folder / CHUNKS / chunk_name(part, split)):
                _store(row, split, sides, seen, removals)
    totals: dict[str, dict[str, Any]] = {view: {} for view in views}
    for (view, split), side in sides.items():
        origins = origin_table(side.origins)
        write_table(work.folder / view / f"{split}.parquet", origins)
        totals[view][split] = facts_of_side(origins)
    return totals


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
        if row.content in seen.get(view, ()):
            removals.add(view, "duplicate_piece", path=row.path, text=row.beginning, num_bytes=row.num_bytes)
        else:
            if view in seen:
                seen[view].add(row.content)
            sides[view, split].add(row)


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
