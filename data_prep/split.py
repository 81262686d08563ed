"""Stage 6, split: documents are set aside for evaluation, the same repositories in every source (sides.py).

A held-out document in one near-duplicate cluster with a training document is dropped, so that no near copy of what is
measured has been trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from codellama_train.recipe.data import HeldOut
from data_prep.decisions import merge_facts, require_documents, write_decisions
from data_prep.documents import id_array, write_table
from data_prep.near_duplicates.clusters import Clusters, clusters_of
from data_prep.parts import BoolArray, file_name, kept_by, only, part_names, source_of, tags_of
from data_prep.sides import Division, Files, divide, files_of, is_held_out, joined
from data_prep.work import Facts, Work

logger = logging.getLogger(__name__)
TRAIN, HELD_OUT = "train", "held_out"
SPLITS = (TRAIN, HELD_OUT)
SIDES = "sides"
COLUMNS = ("document_id", "repository", "path", "beginning", "num_bytes")


def run(work: Work) -> dict[str, Any]:
    """Write each kept document's side."""
    rules, run_dir = work.recipe.held_out, work.run_dir
    parts = part_names(run_dir)
    summarise = partial(_files_of_part, run_dir=run_dir, rules=rules)
    summaries = work.map(summarise, parts, description="split", unit="parts")
    division = divide(_by_source(zip(parts, summaries, strict=True)), rules)
    if division.by_file:
        logger.info("split: too few repositories in a source; %d of them are divided by file", len(division.by_file))
    find = partial(_trained_clusters, run_dir=run_dir, division=division, rules=rules)
    found = work.map(find, parts, description="split: clusters trained on", unit="parts")
    trained = np.unique(np.concatenate([np.empty(0, "S16"), *found]))
    np.save(work.folder / ".trained.npy", trained)
    decide = partial(_split_part, run_dir=run_dir, division=division, rules=rules, trained=work.folder / ".trained.npy")
    made = work.produce(decide, parts, name=str, description="split: decided", unit="parts")
    facts = merge_facts(made)
    require_documents("split", facts)
    return {**facts, "held_out": _account(made), "repositories_divided_by_file": sorted(division.by_file)}


def is_held_out_by_part(run_dir: Path, part: str) -> BoolArray:
    """Tell for each document of a part whether it is on the held-out side; says nothing of those not kept."""
    import pyarrow.parquet as pq

    column = pq.ParquetFile(run_dir / "split" / file_name(SIDES, part)).read(["held_out"])["held_out"]
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _files_of_part(part: str, run_dir: Path, rules: HeldOut) -> dict[str, Files]:
    """Summarise the files of a part's repositories; runs in a worker."""
    rows = only(tags_of(run_dir, part, ["repository", "path"]), kept_by(run_dir, "decontaminate", part))
    return files_of(zip(rows["repository"].to_pylist(), rows["path"].to_pylist(), strict=True), rules)


def _by_source(parts: Iterable[tuple[str, dict[str, Files]]]) -> dict[str, dict[str, Files]]:
    """Put the parts' repositories together, source by source."""
    sources: dict[str, dict[str, Files]] = {}
    for part, found in parts:
        own = sources.setdefault(source_of(part), {})
        for repository, files in found.items():
            own[repository] = joined(own[repository], files) if repository in own else files
    return {source: repositories for source, repositories in sources.items() if repositories}


def _sides(tags: pa.Table, division: Division, rules: HeldOut) -> BoolArray:
    """Tell for each row whether its place puts it on the held-out side."""
    places = zip(tags["repository"].to_pylist(), tags["path"].to_pylist(), strict=True)
    return np.asarray([is_held_out(*place, division, rules) for place in places], dtype=np.bool_)


def _trained_clusters(part: str, run_dir: Path, division: Division, rules: HeldOut) -> npt.NDArray[np.bytes_]:
    """Give the near-duplicate clusters that a part's training documents belong to; runs in a worker."""
    tags = only(tags_of(run_dir, part, ["document_id", "repository", "path"]), kept_by(run_dir, "decontaminate", part))
    clusters = _clusters(tags, clusters_of(run_dir))[~_sides(tags, division, rules)]
    return np.unique(clusters[clusters != b""])


def _clusters(tags: pa.Table, clusters: Clusters) -> npt.NDArray[np.bytes_]:
    return clusters.of(id_array(tags["document_id"]))


def _split_part(part: str, folder: Path, *, run_dir: Path, division: Division, rules: HeldOut, trained: Path) -> Facts:
    """Write one part's sides and decisions; runs in a worker."""
    tags, kept = tags_of(run_dir, part, COLUMNS), kept_by(run_dir, "decontaminate", part)
    held_out = _sides(tags, division, rules)
    clusters = _clusters(tags, clusters_of(run_dir))
    leaks = kept & held_out & (clusters != b"") & np.isin(clusters, np.load(trained))
    reasons = ["near_duplicate_of_training" if leak else None for leak in leaks]
    facts = write_decisions(folder, part, tags, kept, reasons)
    table = pa.table({"document_id": tags["document_id"], "held_out": pa.array(held_out)})
    write_table(folder / file_name(SIDES, part), table)
    kept &= ~leaks
    repositories = pc.unique(only(tags.select(["repository"]), kept & held_out)["repository"]).to_pylist()
    counts = {"train_documents": int((kept & ~held_out).sum()), "held_out_documents": int((kept & held_out).sum())}
    return {**facts, "held_out": {source_of(part): {**counts, "repositories": sorted(repositories)}}}


def _account(parts: Iterable[Facts]) -> dict[str, Any]:
    """Count, per source, what is held out, and name the repositories."""
    account: dict[str, Any] = {}
    for part in parts:
        for source, own in part["held_out"].items():
            facts = account.setdefault(source, {"train_documents": 0, "held_out_documents": 0, "repositories": set()})
            facts["train_documents"] += own["train_documents"]
            facts["held_out_documents"] += own["held_out_documents"]
            facts["repositories"].update(own["repositories"])
    return {
        source: {**facts, "repositories": sorted(facts["repositories"])} for source, facts in sorted(account.items())
    }
