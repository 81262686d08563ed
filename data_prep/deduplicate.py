"""Stage 4, deduplicate: equal texts by hash, then near-equal ones by MinHash candidates and exact similarity.

All sources are searched together. Clusters are what chains of verified pairs connect, and serve the split and the
decontamination; removal goes by rank, and only where a near copy is kept.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from codellama_train.recipe.data_duplicates import Deduplication
from data_prep.clusters import CLUSTERS
from data_prep.decisions import merge_facts, numbers, write_decisions
from data_prep.documents import is_one_of, write_table
from data_prep.minhash import candidate_buckets
from data_prep.parts import kept_by, only, part_names, tags_of
from data_prep.similarity import SimilarPair, candidate_pairs, components, kept_copies, other, verified
from data_prep.work import Work

CLUSTER_SAMPLES = 5
PAIRS_PER_TASK = 500


def run(work: Work) -> dict[str, Any]:
    """Write the decisions, and every near-duplicate cluster with the copy that is kept for each member."""
    documents = _filtered(work)
    ids = documents["document_id"].to_pylist()
    rank = ranks(documents)
    reasons: list[str | None] = [None] * len(ids)
    for index in equal_copies(documents["content_hash"].to_pylist(), rank):
        reasons[index] = "exact_duplicate"
    searched = _searched(documents, reasons, work.recipe.deduplication)
    pairs, num_candidates = _similar_pairs(
        work, [ids[index] for index in searched], [rank[index] for index in searched]
    )
    pairs = [SimilarPair(searched[pair.first], searched[pair.second], pair.similarity) for pair in pairs]
    dropped = kept_copies(pairs, rank)
    for index in dropped:
        reasons[index] = "near_duplicate"
    clusters = components(pairs)
    write_table(work.folder / CLUSTERS, _cluster_table(ids, clusters, dropped))
    facts = _decide(work, dict(zip(ids, reasons, strict=True)))
    account = {"searched_documents": len(searched), "candidate_pairs": num_candidates, "verified_pairs": len(pairs)}
    return {**facts, **account, "clusters": _cluster_account(documents, clusters)}


def _filtered(work: Work) -> pa.Table:
    """Give the tags of the documents that passed the filter."""
    parts = part_names(work.run_dir)
    tables = [only(tags_of(work.run_dir, part), kept_by(work.run_dir, "filter", part)) for part in parts]
    return pa.concat_tables(tables).combine_chunks()


def _decide(work: Work, reasons: Mapping[bytes, str | None]) -> dict[str, Any]:
    """Write the decisions of every part."""
    facts = []
    for part in part_names(work.run_dir):
        tags = tags_of(work.run_dir, part)
        own = [reasons.get(identity) for identity in tags["document_id"].to_pylist()]
        facts.append(write_decisions(work.folder, part, tags, kept_by(work.run_dir, "filter", part), own))
    return merge_facts(facts)


def ranks(documents: pa.Table) -> list[int]:
    """Order documents by what to keep: most stars, newest, longest, then by id. 0 is kept before all others."""
    stars = documents["stars"].fill_null(0).to_pylist()
    times = documents["revision_time"].cast(pa.int64()).fill_null(0).to_pylist()
    lengths = documents["num_characters"].to_pylist()
    ids = documents["document_id"].to_pylist()
    keys = [
        (-star, -time, -length, identity)
        for star, time, length, identity in zip(stars, times, lengths, ids, strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    rank = [0] * len(order)
    for position, index in enumerate(order):
        rank[index] = position
    return rank


def equal_copies(hashes: Sequence[bytes], rank: Sequence[int]) -> list[int]:
    """Give the documents whose text another one of better rank has too, white space aside."""
    best: dict[bytes, int] = {}
    for index in sorted(range(len(hashes)), key=rank.__getitem__):
        best.setdefault(hashes[index], index)
    return [index for index, content in enumerate(hashes) if best[content] != index]


def _searched(documents: pa.Table, reasons: Sequence[str | None], rules: Deduplication) -> list[int]:
    """Give the documents to compare: those with fewer words than one n-gram are matched by exact hash only."""
    lengths: npt.NDArray[np.int64] = numbers(documents, "num_words")
    return [index for index, why in enumerate(reasons) if why is None and lengths[index] >= rules.ngram_words]


def _similar_pairs(work: Work, ids: Sequence[bytes], rank: Sequence[int]) -> tuple[list[SimilarPair], int]:
    """Give the verified pairs among the documents, and how many candidates there were."""
    parts = sorted(work.output_of("ingest").glob("documents-*.parquet"))
    with tempfile.TemporaryDirectory(dir=work.folder) as scratch:
        buckets = candidate_buckets(Path(scratch), parts, ids, work.recipe.deduplication)
    candidates = candidate_pairs(buckets, rank)
    texts = _texts_of_members(parts, ids, candidates)
    tasks = [
        _task(candidates[start : start + PAIRS_PER_TASK], texts) for start in range(0, len(candidates), PAIRS_PER_TASK)
    ]
    verify = partial(_verify, rules=work.recipe.deduplication)
    results = work.map(verify, tasks, description="deduplicate: verified", unit="pairs", size=lambda task: len(task[0]))
    return [pair for result in results for pair in result], len(candidates)


Task = tuple[list[tuple[int, int]], dict[int, str]]


def _task(pairs: list[tuple[int, int]], texts: Mapping[int, str]) -> Task:
    return pairs, {index: texts[index] for pair in pairs for index in pair}


def _verify(task: Task, rules: Deduplication) -> list[SimilarPair]:
    """Verify some pairs; runs in a worker."""
    pairs, texts = task
    return list(verified(pairs, texts, ngram_words=rules.ngram_words, similarity=rules.similarity))


def _texts_of_members(parts: Sequence[Path], ids: Sequence[bytes], pairs: Sequence[tuple[int, int]]) -> dict[int, str]:
    """Read the texts of the documents that any candidate pair names, by their index."""
    index_of = {ids[index]: index for pair in pairs for index in pair}
    texts = {}
    for part in parts:
        table = pq.read_table(part, columns=["document_id", "text"])
        for row in table.filter(is_one_of(table["document_id"], list(index_of))).to_pylist():
            texts[index_of[row["document_id"]]] = row["text"]
    return texts


def _cluster_table(ids: Sequence[bytes], clusters: Mapping[int, int], dropped: Mapping[int, SimilarPair]) -> pa.Table:
    """List every member of a cluster, with the kept copy and its similarity where the member itself is dropped."""
    kept = {index: ids[other(pair, index)] for index, pair in dropped.items()}
    return pa.table(
        {
            "document_id": pa.array([ids[index] for index in clusters], pa.binary(16)),
            "cluster_id": pa.array([ids[cluster] for cluster in clusters.values()], pa.binary(16)),
            "kept_copy": pa.array([kept.get(index) for index in clusters], pa.binary(16)),
            "similarity": pa.array(
                [dropped[index].similarity if index in dropped else None for index in clusters], pa.float64()
            ),
        }
    )


def _cluster_account(documents: pa.Table, clusters: Mapping[int, int]) -> dict[str, Any]:
    """Summarise the clusters: how many of each size, and the members of the largest."""
    sizes = Counter(clusters.values())
    largest = sorted(sizes, key=lambda cluster: (-sizes[cluster], cluster))[:CLUSTER_SAMPLES]
    rows = documents.select(["repository", "path"])
    members = {cluster: [index for index in clusters if clusters[index] == cluster] for cluster in largest}
    names = {
        cluster: [
            f"{row['repository']}: {row['path']}" for row in rows.take(pa.array(indices[:CLUSTER_SAMPLES])).to_pylist()
        ]
        for cluster, indices in members.items()
    }
    return {
        "count": len(sizes),
        "documents": len(clusters),
        "sizes": {str(size): count for size, count in sorted(Counter(sizes.values()).items())},
        "largest": [{"size": sizes[cluster], "documents": names[cluster]} for cluster in largest],
    }
