"""Stage 5, decontaminate: documents that repeat a benchmark's item go, and with them the near copies of such documents.

All documents that passed the filter are searched, those that deduplication dropped included: a kept document whose
dropped near copy holds an item is no better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codellama_train.artifacts import sha256_of
from codellama_train.console import Progress
from codellama_train.recipe.data import DataRecipe
from data_prep.benchmarks import BenchmarkIndex, Hit, benchmark_file, build_index, hits_in, read_items
from data_prep.decisions import require_documents, survivors, write_decisions
from data_prep.deduplicate import CLUSTERS
from data_prep.documents import document_parts, read_texts, write_table
from data_prep.stage import Work
from data_prep.workers import map_in_order

HITS = "hits.parquet"
Found = dict[bytes, list[Hit]]


def run(work: Work) -> dict[str, Any]:
    """Write the decisions, every hit, and the account per benchmark item."""
    documents = survivors(work, "deduplicate")
    found, facts = _search(work)
    write_table(work.folder / HITS, _hit_table(found))
    tainted = _tainted_clusters(work.output_of("deduplicate") / CLUSTERS, found)
    reasons = [reason_for(identity, found, tainted) for identity in documents["document_id"].to_pylist()]
    decided = write_decisions(work, documents, reasons)
    require_documents("decontaminate", decided)
    return {**decided, **facts}


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
    parts = document_parts(work.output_of("ingest"))
    ids = survivors(work, "filter")["document_id"].to_pylist()
    progress = Progress("decontaminate", total=len(parts), unit="parts")
    search = partial(_search_part, document_ids=ids, index=index)
    found: Found = {}
    for part_found in map_in_order(search, parts, workers=work.workers, progress=progress):
        found.update(part_found)
    return found, {"benchmarks": {name: _account(name, size, found) for name, size in sizes.items()}}


def _search_part(part: Path, document_ids: Sequence[bytes], index: BenchmarkIndex) -> Found:
    """Search one part's documents; runs in a worker."""
    found = {row["document_id"]: hits_in(row["text"], index) for row in read_texts(part, document_ids)}
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
