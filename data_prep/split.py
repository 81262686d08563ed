"""Stage 6, split: documents are set aside for evaluation by repository, the same repositories in every source.

A repository's side follows from the hash of its name, so more data never moves it. Where a source has too few
repositories, or the hash puts all of them on one side, its repositories are divided by file in the same way.
A held-out document in one near-duplicate cluster with a training document is dropped, so that no near copy of what is
measured has been trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codellama_train.recipe.data import HeldOut
from data_prep.decisions import require_documents, survivors, write_decisions
from data_prep.deduplicate import CLUSTERS
from data_prep.documents import digest, write_table
from data_prep.stage import Work

logger = logging.getLogger(__name__)
TRAIN, HELD_OUT = "train", "held_out"
SPLITS = (TRAIN, HELD_OUT)
SPLIT = "split.parquet"


def run(work: Work) -> dict[str, Any]:
    """Write each kept document's side."""
    documents = survivors(work, "decontaminate")
    rules = work.recipe.held_out
    rows = documents.select(["document_id", "source", "repository", "path"]).to_pylist()
    divided = repositories_divided_by_file(rows, rules)
    if divided:
        logger.info("split: too few repositories in a source; %d of them are divided by file", len(divided))
    sides = sides_of(rows, rules, divided)
    clusters = pq.read_table(
        work.output_of("deduplicate") / CLUSTERS, columns=["document_id", "cluster_id"]
    ).to_pylist()
    leaks = leaking(rows, sides, {row["document_id"]: row["cluster_id"] for row in clusters})
    facts = write_decisions(work, documents, ["near_duplicate_of_training" if leak else None for leak in leaks])
    require_documents("split", facts)
    kept = [(row["document_id"], side) for row, side, leak in zip(rows, sides, leaks, strict=True) if not leak]
    ids = pa.array([identity for identity, _ in kept], pa.binary(16))
    write_table(work.folder / SPLIT, pa.table({"document_id": ids, "split": pa.array([side for _, side in kept])}))
    return {**facts, "held_out": _account(rows, sides, leaks), "repositories_divided_by_file": sorted(divided)}


def is_held_out(name: str, rules: HeldOut) -> bool:
    """Tell the side of a repository or file by the hash of its name."""
    value = int.from_bytes(digest(f"{rules.seed}\0{name}".encode())[:8], "little")
    return value < rules.fraction * 2**64


def repositories_divided_by_file(rows: Sequence[dict[str, Any]], rules: HeldOut) -> set[str]:
    """Give the repositories of every source that whole repositories would not divide well."""
    by_source: dict[str, set[str]] = {}
    for row in rows:
        by_source.setdefault(row["source"], set()).add(row["repository"])
    divided: set[str] = set()
    for repositories in by_source.values():
        sides = {is_held_out(repository, rules) for repository in repositories}
        if len(repositories) < rules.min_repositories or len(sides) == 1:
            divided |= repositories
    return divided


def sides_of(rows: Sequence[dict[str, Any]], rules: HeldOut, divided: set[str]) -> list[str]:
    """Give each document's side; a source always has at least one unit on each, if it has two."""
    units = [_unit(row, divided) for row in rows]
    held_out = {unit for unit in set(units) if is_held_out(unit, rules)}
    for source in sorted({row["source"] for row in rows}):
        own = sorted({unit for unit, row in zip(units, rows, strict=True) if row["source"] == source}, key=_hash_of)
        if len(own) > 1 and not held_out.intersection(own):
            held_out.add(own[0])
        elif len(own) > 1 and held_out.issuperset(own):
            held_out.discard(own[-1])
    return [HELD_OUT if unit in held_out else TRAIN for unit in units]


def _unit(row: dict[str, Any], divided: set[str]) -> str:
    return f"{row['repository']}\0{row['path']}" if row["repository"] in divided else row["repository"]


def _hash_of(unit: str) -> bytes:
    return digest(unit.encode())


def leaking(rows: Sequence[dict[str, Any]], sides: Sequence[str], cluster_of: dict[bytes, bytes]) -> list[bool]:
    """Tell which held-out documents share a near-duplicate cluster with a training document."""
    clusters = [cluster_of.get(row["document_id"]) for row in rows]
    trained = {cluster for cluster, side in zip(clusters, sides, strict=True) if side == TRAIN and cluster is not None}
    return [side == HELD_OUT and cluster in trained for cluster, side in zip(clusters, sides, strict=True)]


def _account(rows: Sequence[dict[str, Any]], sides: Sequence[str], leaks: Sequence[bool]) -> dict[str, Any]:
    """Count, per source, what is held out, and name the repositories."""
    account: dict[str, Any] = {}
    for row, side, leak in zip(rows, sides, leaks, strict=True):
        facts = account.setdefault(
            row["source"], {"train_documents": 0, "held_out_documents": 0, "repositories": set()}
        )
        if side == TRAIN:
            facts["train_documents"] += 1
        elif not leak:
            facts["held_out_documents"] += 1
            facts["repositories"].add(row["repository"])
    return {
        source: {**facts, "repositories": sorted(facts["repositories"])} for source, facts in sorted(account.items())
    }
