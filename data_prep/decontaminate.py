"""Stage 5, decontaminate: documents that repeat a benchmark's item go, and with them the near copies of such documents.

All documents that passed the filter are searched, those that deduplication dropped included: a kept document whose
dropped near copy holds an item is no better.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codellama_train.artifacts import sha256_of, write_json
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.data_benchmarks import Benchmark, Decontamination
from data_prep.contamination.account import Account, facts_of, items_of
from data_prep.contamination.benchmark_files import benchmark_files, read_items
from data_prep.contamination.index import build_index
from data_prep.contamination.index_files import load_index, save_index
from data_prep.contamination.items import LAYERS
from data_prep.contamination.search import hits_in
from data_prep.decisions import ACCOUNT_COLUMNS, merge_facts, require_documents, write_decisions
from data_prep.documents import write_table
from data_prep.near_duplicates.clusters import CLUSTERS
from data_prep.parts import documents_of, file_name, kept_by, only, part_names, source_of, tags_of
from data_prep.work import Facts, Work

HITS, ITEMS = "hits.parquet", "benchmark_items.json"
HIT_SCHEMA = pa.schema(
    {
        "document_id": pa.binary(16),
        "source": pa.string(),
        "benchmark": pa.string(),
        "item": pa.string(),
        "layer": pa.string(),
        "value": pa.float64(),  # whole texts, distinct n-grams or substrings shared; of "renamed" the similarity
        "excerpt": pa.string(),
    }
)
INDEX, FOUND, REASONS = ".index", ".found", ".reasons.parquet"
NEAR_COPY = "near_copy_repeats_benchmark"
# A sample tells how rare what is, which makes the search faster and changes nothing else.
SAMPLED_PARTS = 8
CLUSTER_ROWS = 65_536


def inputs_of(recipe: DataRecipe) -> Any:
    """Give what decides the stage's output: its keys, and the checksums of the benchmarks' files."""
    rules = recipe.decontamination
    if rules is None:
        return None
    return [rules.model_dump(mode="json"), {name: _checksums(name, each) for name, each in rules.benchmarks.items()}]


def _checksums(name: str, benchmark: Benchmark) -> dict[str, str]:
    """Hash a benchmark's files, having read them, so that a mistake is told before hours of work."""
    files = benchmark_files(name, benchmark)
    stamps = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _read_checksums(name, benchmark.model_dump_json(), stamps)


@lru_cache(maxsize=256)
def _read_checksums(name: str, benchmark: str, stamps: tuple[tuple[str, int, int], ...]) -> dict[str, str]:
    read_items(name, Benchmark.model_validate_json(benchmark))
    return {path: sha256_of(Path(path)) for path, _, _ in stamps}


def run(work: Work) -> dict[str, Any]:
    """Write the decisions, every hit, and the account per benchmark item."""
    rules, reasons, benchmarks = work.recipe.decontamination, dict[bytes, str](), dict[str, Any]()
    if rules is not None:
        _search(work, rules)
        reasons, benchmarks = _account(work, rules)
        _add_near_copies(reasons, work.output_of("deduplicate") / CLUSTERS)
    ids = sorted(reasons)
    table = pa.table(
        [pa.array(ids, pa.binary(16)), pa.array(map(reasons.get, ids), pa.string())], ["document_id", "reason"]
    )
    pq.write_table(table, work.folder / REASONS)
    decide = partial(_decide, run_dir=work.run_dir, reasons=work.folder / REASONS)
    facts = work.produce(decide, part_names(work.run_dir), name=str, description="decontaminate: decided", unit="parts")
    decided = merge_facts(facts)
    require_documents("decontaminate", decided)
    return {**decided, "benchmarks": benchmarks}


def _search(work: Work, rules: Decontamination) -> None:
    """Look for every benchmark item in every document that passed the filter."""
    parts = part_names(work.run_dir)
    items = [item for name, benchmark in rules.benchmarks.items() for item in read_items(name, benchmark)]
    sample = [text for part in parts[:: 1 + len(parts) // SAMPLED_PARTS] for text in _texts(work.run_dir, part)[1]]
    save_index(build_index(items, rules, sample), work.folder / INDEX)
    search = partial(_search_part, run_dir=work.run_dir, index=work.folder / INDEX)
    work.produce(search, parts, name=str, description="decontaminate: searched", unit="parts", into=FOUND)


def _texts(run_dir: Path, part: str) -> tuple[pa.Table, list[bytes]]:
    """Give the ids and texts of a part's documents that passed the filter."""
    table = only(documents_of(run_dir, part, ["document_id", "text"]), kept_by(run_dir, "filter", part))
    return table, table["text"].cast(pa.large_binary()).to_pylist()


def _search_part(part: str, folder: Path, *, run_dir: Path, index: Path) -> Facts:
    """Search one part's documents; runs in a worker."""
    benchmarks = load_index(index)
    table, texts = _texts(run_dir, part)
    hits = hits_in(texts, benchmarks)
    if hits:
        items = [benchmarks.items[hit.item] for hit in hits]
        columns = {
            "document_id": table["document_id"].take(pa.array([hit.document for hit in hits])),
            "source": [source_of(part)] * len(hits),
            "benchmark": [item.benchmark for item in items],
            "item": [item.name for item in items],
            **{name: [getattr(hit, name) for hit in hits] for name in ("layer", "value", "excerpt")},
        }
        write_table(folder / file_name("hits", part), pa.table(columns, schema=HIT_SCHEMA))
    return {"hits": len(hits)}


def _account(work: Work, rules: Decontamination) -> tuple[dict[bytes, str], dict[str, Any]]:
    """Put the parts' hits together; gives the reason of every document that has any, and the account by benchmark."""
    reasons, account = dict[bytes, str](), Account()
    with pq.ParquetWriter(work.folder / HITS, HIT_SCHEMA, compression="zstd") as writer:
        for path in sorted((work.folder / FOUND).glob("*.parquet")):
            table = pq.read_table(path)
            writer.write_table(table)
            for identity, hits in _by_document(table):
                account.add(hits)
                reasons[identity] = reason_for({hit["layer"] for hit in hits})
    index = load_index(work.folder / INDEX)
    write_json(work.folder / ITEMS, items_of(account, index))
    facts = facts_of(account, index)
    return reasons, {
        name: facts[name] | {"files": _checksums(name, benchmark)} for name, benchmark in rules.benchmarks.items()
    }


def _by_document(table: pa.Table) -> Iterator[tuple[bytes, list[dict[str, Any]]]]:
    columns = ["document_id", "benchmark", "item", "layer"]
    for identity, hits in groupby(table.select(columns).to_pylist(), key=lambda hit: hit["document_id"]):
        yield identity, list(hits)


def reason_for(layers: set[str]) -> str:
    """Name the strongest layer in which a document repeats an item."""
    return f"repeats_benchmark_{next(layer for layer in LAYERS if layer in layers)}"


def _add_near_copies(reasons: dict[bytes, str], path: Path) -> None:
    """Add the other members of near-duplicate clusters in which any member holds an item."""
    found = pa.array(sorted(reasons), pa.binary(16))
    tainted: set[bytes] = set()
    for batch in _batches(path):
        members = batch.filter(pc.is_in(batch["document_id"], found))
        tainted.update(members["cluster_id"].to_pylist())
    clusters = pa.array(sorted(tainted), pa.binary(16))
    for batch in _batches(path):
        members = batch.filter(pc.is_in(batch["cluster_id"], clusters))
        for identity in members["document_id"].to_pylist():
            reasons.setdefault(identity, NEAR_COPY)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(path).iter_batches(CLUSTER_ROWS, columns=["document_id", "cluster_id"])


def _decide(part: str, folder: Path, *, run_dir: Path, reasons: Path) -> Facts:
    """Write one part's decisions; runs in a worker."""
    tags = tags_of(run_dir, part, ACCOUNT_COLUMNS)
    known = pq.read_table(reasons)
    places = pc.index_in(tags["document_id"], value_set=known["document_id"])
    why = known["reason"].take(places.combine_chunks()).to_pylist()
    return write_decisions(folder, part, tags, kept_by(run_dir, "deduplicate", part), why)
