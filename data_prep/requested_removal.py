"""Removal on request: which shards hold the documents, those shards without them, and their texts gone from the run.

The ledger is written first, so that a killed removal is finished by the next one and no later run brings anything back.
Then the folder of shards is replaced by one without the documents, in which all other files are the same ones. Last,
the texts in the run's own tables and samples are overwritten with nothing.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from codellama_train import artifacts
from codellama_train.console import Progress
from codellama_train.tokens.shard_removal import link, shards_that_hold, write_without
from codellama_train.tokens.shards import ShardSet
from data_prep.decontaminate import HITS
from data_prep.documents import digest, id_array, write_table
from data_prep.near_duplicates.clusters import clusters_of
from data_prep.parts import BoolArray, only, part_names, tags_of
from data_prep.removal_requests import Request, is_requested
from data_prep.report import REPORT_FILE, with_bytes_per_token
from data_prep.shards.origins import facts_of_side
from data_prep.split import SPLITS
from data_prep.workers import map_in_order

logger = logging.getLogger(__name__)
SHARDS, MAKING, OUTGOING = "shards", ".shards.removal", ".shards.outgoing"
COLUMNS = ("document_id", "repository", "path", "content_hash")
EMPTY = digest(b"")  # of a text that was removed before and tagged again since
PARTS_PER_WORKER = 32  # starting a process takes as long as reading the tags of so many
Ids = npt.NDArray[np.bytes_]


@dataclass(frozen=True)
class Found:
    """A document that goes, or a copy of one: `copy_of` names the document that it is a copy of."""

    document_id: bytes
    part: str
    repository: str
    path: str
    content_hash: bytes
    copy_of: str | None = None

    @property
    def name(self) -> str:
        """Name the document as reports do."""
        return f"{self.repository}: {self.path}"


@dataclass(frozen=True)
class Holding:
    """What one shard holds of the documents that go."""

    view: str
    split: str
    shard: int
    pieces: int
    tokens: int


def find_documents(run_dir: Path, requests: Sequence[Request]) -> list[Found]:
    """Find every ingested document that the requests name."""
    return _over_parts(run_dir, partial(_requested_of_part, run_dir=run_dir, requests=requests), "requested documents")


def find_copies(run_dir: Path, requests: Sequence[Request], documents: Sequence[Found]) -> list[Found]:
    """Find what has the same text as a requested document, or is in one near-duplicate cluster with it."""
    by_hash = {document.content_hash: document.name for document in documents if document.content_hash != EMPTY}
    clusters = clusters_of(run_dir).of(np.array([document.document_id for document in documents], dtype="S16"))
    by_cluster = {
        bytes(cluster): document.name for cluster, document in zip(clusters, documents, strict=True) if cluster != b""
    }
    look = partial(_copies_of_part, run_dir=run_dir, requests=requests, by_hash=by_hash, by_cluster=by_cluster)
    return _over_parts(run_dir, look, "copies") if documents else []


def _over_parts(run_dir: Path, function: Callable[[str], list[Found]], searched: str) -> list[Found]:
    parts = part_names(run_dir)
    workers = min(os.cpu_count() or 1, 1 + len(parts) // PARTS_PER_WORKER)
    progress = Progress(f"looked for {searched}", total=len(parts), unit="parts")
    return [found for part in map_in_order(function, parts, workers=workers, progress=progress) for found in part]


def _requested_of_part(part: str, run_dir: Path, requests: Sequence[Request]) -> list[Found]:
    """Find what is requested of one part; runs in a worker."""
    tags = tags_of(run_dir, part, COLUMNS)
    return [Found(part=part, **row) for row in only(tags, is_requested(tags, requests)).to_pylist()]


def _copies_of_part(
    part: str, run_dir: Path, requests: Sequence[Request], by_hash: dict[bytes, str], by_cluster: dict[bytes, str]
) -> list[Found]:
    """Find the copies in one part; runs in a worker."""
    tags = tags_of(run_dir, part, COLUMNS)
    clusters = clusters_of(run_dir).of(id_array(tags["document_id"]))
    found = []
    for row, cluster, known in zip(tags.to_pylist(), clusters, is_requested(tags, requests), strict=True):
        original = by_hash.get(row["content_hash"]) or by_cluster.get(bytes(cluster))
        if original is not None and not known:
            found.append(Found(part=part, copy_of=original, **row))
    return found


def holdings(run_dir: Path, document_ids: Ids) -> list[Holding]:
    """Say which shards hold pieces of the documents."""
    found = []
    for view, split, origins, dropped in _sides(run_dir, document_ids):
        if not dropped.any():
            continue
        shards = ShardSet(run_dir / SHARDS / view / split)
        tokens = np.asarray(origins["tokens"])
        own_tokens = np.split(tokens, np.cumsum([shard["documents"] for shard in shards.manifest["shards"]])[:-1])
        for number, chosen in shards_that_hold(shards, dropped).items():
            found.append(Holding(view, split, number, int(chosen.sum()), int(own_tokens[number][chosen].sum())))
    return found


def _sides(run_dir: Path, document_ids: Ids) -> Iterator[tuple[str, str, pa.Table, BoolArray]]:
    """Give each side of each view with its origins and which of its pieces go."""
    manifest = artifacts.finished_manifest(run_dir / SHARDS)
    for view in manifest["shards"]:
        for split in SPLITS:
            origins = pq.read_table(run_dir / SHARDS / view / f"{split}.parquet")
            yield view, split, origins, np.isin(id_array(origins["parent_id"]), document_ids)


def finish_interrupted(run_dir: Path) -> None:
    """Put the old shards back where a kill fell between the two renames that replace them."""
    if not (run_dir / SHARDS).exists() and (run_dir / OUTGOING).is_dir():
        (run_dir / OUTGOING).rename(run_dir / SHARDS)
    shutil.rmtree(run_dir / MAKING, ignore_errors=True)


def rebuild_shards(run_dir: Path, document_ids: Ids) -> None:
    """Replace the folder of shards by one without the documents' pieces; untouched files are the same ones."""
    old, new = run_dir / SHARDS, run_dir / MAKING
    manifest = artifacts.finished_manifest(old)
    files, totals = dict(manifest["files"]), {view: dict(sides) for view, sides in manifest["shards"].items()}
    new.mkdir()
    for view, split, origins, dropped in _sides(run_dir, document_ids):
        folder, table = Path(view) / split, Path(view) / f"{split}.parquet"
        (new / folder).mkdir(parents=True)
        if not dropped.any():
            for path in (*(old / folder).iterdir(), old / table):
                link(path, new / path.relative_to(old))
            continue
        origins = origins.filter(pa.array(~dropped))
        write_table(new / table, origins)
        totals[view][split] = facts_of_side(origins)
        shards = ShardSet(old / folder)
        write_without(shards, dropped, new / folder, inexact_by_cause=totals[view][split]["inexact_by_cause"])
        own = artifacts.finished_manifest(new / folder)["files"]
        files |= {str(folder / name): facts for name, facts in own.items()}
        files |= {str(path): artifacts.vouch_for(new / path) for path in (table, folder / artifacts.MANIFEST)}
    facts = {key: value for key, value in manifest.items() if key not in ("files", artifacts.OWN_CHECKSUM)}
    artifacts.write_manifest(new, {**facts, "shards": totals}, files=files)
    artifacts.publish(new, old)


def purge_texts(run_dir: Path, found: Iterable[Found]) -> None:
    """Overwrite the documents' texts with nothing, in the ingested parts, the tags and the samples of manifests."""
    by_part: dict[str, list[bytes]] = {}
    names = set()
    for document in found:
        by_part.setdefault(document.part, []).append(document.document_id)
        names.add(document.name)
    for stage, kind, column in (("ingest", "documents", "text"), ("tag", "tags", "beginning")):
        changed = {f"{kind}-{part}.parquet": ids for part, ids in by_part.items()}
        _purge_stage(run_dir / stage, column, changed)
    every = [identity for ids in by_part.values() for identity in ids]
    hits = run_dir / "decontaminate" / HITS
    if hits.is_file() and "excerpt" in pq.read_schema(hits).names:
        _purge_stage(run_dir / "decontaminate", "excerpt", {HITS: every})
    for folder in sorted(path.parent for path in run_dir.glob(f"*/{artifacts.MANIFEST}")):
        manifest = artifacts.finished_manifest(folder)
        if _forget_samples(manifest.get("removed", {}), names):
            _write_manifest_again(folder, manifest)


def _purge_stage(folder: Path, column: str, changed: Mapping[str, Sequence[bytes]]) -> None:
    """Empty one column of the documents in a stage's files."""
    manifest = artifacts.finished_manifest(folder)
    for name, ids in changed.items():
        table = pq.read_table(folder / name)
        chosen = np.isin(id_array(table["document_id"]), np.array(ids, dtype="S16"))
        damage = artifacts.damage_in(folder, {name: manifest["files"][name]})
        if not any(only(table, chosen)[column].to_pylist()):
            if damage:  # a kill fell between this file and its manifest
                manifest["files"][name] = artifacts.vouch_for(folder / name)
            continue
        if damage:
            raise artifacts.CorruptArtifact(f"{damage[0]}; run prepare_data.py, which makes it again, then this again")
        texts = ["" if empty else text for empty, text in zip(chosen, table[column].to_pylist(), strict=True)]
        place = table.column_names.index(column)
        purged = table.set_column(place, table.schema.field(place), pa.array(texts, table.schema.field(place).type))
        temporary = folder / f".{name}.partial"
        write_table(temporary, purged)
        manifest["files"][name] = artifacts.vouch_for(temporary)
        temporary.replace(folder / name)
    _write_manifest_again(folder, manifest)


def refresh_report(run_dir: Path) -> None:
    """Bring the run's report to what is left; the page drawn from the old one goes, since it shows samples."""
    path = run_dir / REPORT_FILE
    if path.is_file():
        stages = artifacts.read_json(path)["removed"]
        manifests = {stage: artifacts.finished_manifest(run_dir / stage) for stage in stages}
        removed = {stage: manifest.get("removed", {}) for stage, manifest in manifests.items()}
        shards = with_bytes_per_token(manifests[SHARDS]["shards"])
        artifacts.write_json(path, {**artifacts.read_json(path), "removed": removed, "shards": shards})
    (run_dir / "report.html").unlink(missing_ok=True)


def _write_manifest_again(folder: Path, manifest: dict[str, Any]) -> None:
    facts = {key: value for key, value in manifest.items() if key not in ("files", artifacts.OWN_CHECKSUM)}
    artifacts.write_manifest(folder, facts, files=manifest["files"])


def _forget_samples(removed: dict[str, Any], names: set[str]) -> bool:
    """Empty the samples that show the documents; tells whether there were any."""
    samples = [
        sample
        for reasons in removed.values()
        for entry in reasons.values()
        for sample in entry["samples"]
        if sample["path"] in names and sample["text"]
    ]
    for sample in samples:
        sample["text"] = ""
    return bool(samples)
