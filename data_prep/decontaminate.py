"""Stage 5, decontaminate: documents that repeat a benchmark's item go, and with them the near copies of such documents.

All documents that passed the filter are searched, those that deduplication dropped included: a kept document whose
dropped near copy holds an item is no better.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codellama_train.artifacts import sha256_of
from codellama_train.recipe.data import DataRecipe
from data_prep.benchmarks import BenchmarkIndex, Hit, benchmark_file, build_index, hits_in, read_items
from data_prep.clusters import CLUSTERS
from data_prep.decisions import merge_facts, require_documents, write_decisions
from data_prep.documents import write_table
from data_prep.parts import documents_of, kept_by, only, part_names, tags_of
from data_prep.work import Work

HITS = "hits.parquet"
Found = dict[bytes, list[Hit]]


def run(work: Work) -> dict[str, Any]:
    """Write the decisions, every hit, and the account per benchmark item."""
    found, facts = _search(work)
    write_table(work.folder / HITS, _hit_table(found))
    tainted = _tainted_clusters(work.output_of("deduplicate") / CLUSTERS, found)
    decided = merge_facts(_decide(work, part, found, tainted) for part in part_names(work.run_dir))
    require_documents("decontaminate", decided)
    return {**decided, **facts}


def _decide(work: Work, part: str, found: Found, tainted: set[bytes]) -> dict[str, Any]:
    tags = tags_of(work.run_dir, part)
    reasons = [reason_for(identity, found, tainted) for identity in tags["document_id"].to_pylist()]
    return write_decisions(work.folder, part, tags, kept_by(work.run_dir, "deduplicate", part), reasons)


def inputs_of(recipe: DataRecipe) -> Any:
    """Give what decides the stage's output: its keys, and the checksums of the benchmarks' files."""
    rules = recipe.decontamination
    if rules is None:
        return None
    files = {name: sha256_of(benchmark_file(name, benchmark)) for name, benchmark in rules.benchmarks.items()}
    return [rules.model_dump(mode="json"), files]


def reason_for(document_id: bytes, found: Found, tainted: set[bytes]) -> str | None:
    """Say why a document goes, if it does."""
    if document_id in found:
        return "repeats_benchmark"
    return "near_copy_repeats_benchmark" if document_id in tainted else None


def _search(work: Work) -> tuple[Found, dict[str, Any]]:
    """Look for every benchmark item in every document that passed the filter."""
    rules = work.recipe.decontamination
    if rules is None:
        return {}, {"benchmarks": {}}
    items: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for name, benchmark in rules.benchmarks.items():
        own = read_items(name, benchmark)
        sizes[name] = len(own)
        items.update(own)
    index = build_index(items, rules.ngram_words)
    search = partial(_search_part, run_dir=work.run_dir, index=index)
    found: Found = {}
    for part_found in work.map(search, part_names(work.run_dir), description="decontaminate", unit="parts"):
        found.update(part_found)
    return found, {"benchmarks": {name: _account(name, size, found) for name, size in sizes.items()}}


def _search_part(part: str, run_dir: Path, index: BenchmarkIndex) -> Found:
    """Search one part's documents; runs in a worker."""
    rows = only(documents_of(run_dir, part, ["document_id", "text"]), kept_by(run_dir, "filter", part)).to_pylist()
    found = {row["document_id"]: hits_in(row["text"], index) for row in rows}
    return {identity: hits for identity, hits in found.items() if hits}


def _account(benchmark: str, num_items: int, found: Found) -> dict[str, Any]:
    """Count, for one benchmark, the documents that hit each item."""
    by_item: dict[str, int] = {}
    for hits in found.values():
        for hit in hits:
            name, _, item = hit.item.partition(": ")
            if name == benchmark:
                by_item[item] = by_item.get(item, 0) + 1
    return {"items": num_items, "items_hit": len(by_item), "documents_by_item": dict(sorted(by_item.items()))}


def _tainted_clusters(path: Path, found: Mapping[bytes, list[Hit]]) -> set[bytes]:
    """Give all members of near-duplicate clusters in which any member holds an item."""
    rows = pq.read_table(path, columns=["document_id", "cluster_id"]).to_pylist()
    clusters = {row["cluster_id"] for row in rows if row["document_id"] in found}
    return {row["document_id"] for row in rows if row["cluster_id"] in clusters}


def _hit_table(found: Found) -> pa.Table:
    """List every hit of every document."""
    rows = [(identity, hit) for identity, hits in sorted(found.items()) for hit in hits]
    return pa.table(
        {
            "document_id": pa.array([identity for identity, _ in rows], pa.binary(16)),
            "item": pa.array([hit.item for _, hit in rows], pa.string()),
            "shared_ngrams": pa.array([hit.shared_ngrams for _, hit in rows], pa.int64()),
            "is_exact": pa.array([hit.is_exact for _, hit in rows], pa.bool_()),
        }
    )
