"""Runs to deduplicate, made from texts, and what brute force says of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from preparing import MODULES, STDLIB, mini_recipe

from codellama_train import artifacts
from data_prep import deduplicate
from data_prep.decisions import write_decisions
from data_prep.documents import Document, PartWriter, digest, write_table
from data_prep.parts import TAGS, documents_of, file_name, kept_by, part_names
from data_prep.words import ngrams, num_words, words_of
from data_prep.work import Work, finished_files, unfinished_folder
from data_prep.workers import end_idle_processes

RULES = {"ngram_words": 5, "permutations": 256, "bands": 42, "rows_per_band": 6, "similarity": 0.7}


def document(text: str, **facts: Any) -> Document:
    """Make a document; two of the same text differ in their path."""
    path = facts.setdefault("path", text[:100])
    facts = {"source": "code", "language": "python", "repository": "r"} | facts
    return Document(digest(f"{facts['source']}/{path}".encode()), text, **facts)


def real_texts(seed: int, *, per_module: int = 6) -> list[str]:
    """Give real files, and copies of them with more and more of their lines replaced."""
    rng = random.Random(seed)
    texts = []
    for module in MODULES:
        for path in sorted((STDLIB / module).glob("*.py"))[:per_module]:
            lines = path.read_text("utf-8").splitlines()[:200]
            texts.append("\n".join(lines))
            for replaced in (0.01, 0.05, 0.1, 0.15, 0.2):
                copy = [f"new_{rng.random()}" if rng.random() < replaced else line for line in lines]
                texts.append("\r\n".join("\t" + line for line in copy))  # other white space must not matter
    return [text for text in texts if num_words(text) >= 10]


def write_run(run_dir: Path, documents: Sequence[Document], *, per_part: int = 50) -> Path:
    """Write the stages before deduplication of documents that the filter keeps."""
    for source in sorted({document.source for document in documents}):
        own = [document for document in documents if document.source == source]
        for task, start in enumerate(range(0, len(own), per_part)):
            (run_dir / "ingest").mkdir(parents=True, exist_ok=True)
            writer = PartWriter(run_dir / "ingest", source, task)
            for each in own[start : start + per_part]:
                writer.add(each)
            writer.flush()
    for name in ("tag", "filter"):
        (run_dir / name).mkdir()
    for part in part_names(run_dir):
        tags = tags_for(documents_of(run_dir, part))
        write_table(run_dir / "tag" / file_name(TAGS, part), tags)
        write_decisions(run_dir / "filter", part, tags, np.ones(len(tags), dtype=bool), [None] * len(tags))
    for name in ("ingest", "tag", "filter"):
        artifacts.write_manifest(run_dir / name, {"stage": name, "fingerprint": f"{name} of {len(documents)}"})
    return run_dir


def tags_for(table: pa.Table) -> pa.Table:
    """Give the tags that deduplication reads."""
    texts = table["text"].to_pylist()
    return (
        table.drop_columns(["text"])
        .append_column("beginning", pa.array([text[:50] for text in texts]))
        .append_column("num_bytes", pa.array([len(text.encode()) for text in texts]))
        .append_column("num_characters", pa.array([len(text) for text in texts]))
        .append_column("num_words", pa.array([num_words(text) for text in texts]))
        .append_column(
            "content_hash", pa.array([digest(" ".join(text.split()).encode()) for text in texts], pa.binary(16))
        )
    )


def deduplicated(run_dir: Path, *, workers: int = 1, memory_megabytes: int = 2_000, **rules: Any) -> dict[str, Any]:
    """Do the stage, as the pipeline does; gives its manifest."""
    machine = {"workers": workers, "memory_megabytes": memory_megabytes}
    recipe = mini_recipe(run_dir, run_dir, deduplication=RULES | rules, machine=machine)
    inputs = deduplicate.inputs_of(recipe)
    folder = unfinished_folder(run_dir / "deduplicate", "test")
    facts = deduplicate.run(Work(recipe, folder, run_dir.resolve()))
    end_idle_processes()
    contents = {"stage": "deduplicate", "fingerprint": artifacts.fingerprint(inputs), **facts}
    manifest = artifacts.write_manifest(folder, contents, files=finished_files(folder))
    artifacts.publish(folder, run_dir / "deduplicate")
    return manifest


def texts_of(run_dir: Path) -> dict[bytes, str]:
    """Give all texts by document id."""
    tables = [documents_of(run_dir, part, ["document_id", "text"]) for part in part_names(run_dir)]
    return {row["document_id"]: row["text"] for table in tables for row in table.to_pylist()}


def kept_ids(run_dir: Path) -> set[bytes]:
    """Give the ids of the documents that deduplication keeps."""
    kept: set[bytes] = set()
    for part in part_names(run_dir):
        ids = documents_of(run_dir, part, ["document_id"])["document_id"].to_pylist()
        kept |= {
            identity for identity, is_kept in zip(ids, kept_by(run_dir, "deduplicate", part), strict=True) if is_kept
        }
    return kept


def reasons_of(run_dir: Path) -> dict[bytes, str]:
    """Give the reason of each dropped document."""
    import pyarrow.parquet as pq

    rows = [
        row for path in sorted((run_dir / "deduplicate").glob("decisions-*")) for row in pq.read_table(path).to_pylist()
    ]
    return {row["document_id"]: row["reason"] for row in rows if row["reason"] is not None}


def shingles(text: str, ngram_words: int = 5) -> frozenset[tuple[str, ...]]:
    """Give the set of a text's word n-grams, plainly."""
    return frozenset(ngrams(words_of(text), ngram_words))


def similarity(first: frozenset[Any], second: frozenset[Any]) -> float:
    """Give the Jaccard similarity of two sets, plainly."""
    return len(first & second) / len(first | second)


def true_pairs(texts: Mapping[bytes, str]) -> dict[tuple[bytes, bytes], float]:
    """Give the similarity of all pairs of texts that have n-grams, by brute force."""
    sets = {identity: found for identity, text in texts.items() if (found := shingles(text))}
    return {(a, b): similarity(sets[a], sets[b]) for a, b in combinations(sorted(sets), 2)}
