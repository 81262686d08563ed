"""Runs up to deduplication, for the benchmarks: written from texts or made up, deduplicated in a process of their own.

python benchmarks/near_runs.py --run FOLDER --workers N --memory-megabytes M [--bands B --rows R --similarity S]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from code_corpus import LANGUAGE_OF, code_corpus, source_files
from corpus import scattered, usable_text

from codellama_train import artifacts
from codellama_train.console import run_program
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.loading import load
from data_prep.decisions import write_decisions
from data_prep.documents import PART_BYTES, SCHEMA, Document, PartWriter, digest, write_table
from data_prep.parts import DOCUMENTS, TAGS, documents_of, file_name, part_name, part_names
from data_prep.pipeline import STAGES
from data_prep.stage import do
from data_prep.words import num_words

RECIPE = Path(__file__).parent / "data.toml"
STAGES_BEFORE = ("ingest", "tag", "filter")
PERMUTATIONS = 256
WORDS, WORD_BYTES, WORDS_PER_DOCUMENT = 50_000, 7, 80  # of a made-up document: about 560 bytes
COPIED = 0.2  # of made-up documents are near copies of another


def corpus_texts(cache: Path, megabytes: float) -> Iterator[tuple[str, str]]:
    """Give the path and the text of different source files, in an order that mixes all packages."""
    folder, seen, left = code_corpus(cache), set[bytes](), megabytes * 1e6
    for path in sorted(source_files(folder), key=lambda path: scattered(path.relative_to(folder))):
        text = usable_text(path)
        if text and num_words(text) >= 20 and digest(text.encode()) not in seen:
            seen.add(digest(text.encode()))
            yield str(path.relative_to(folder)), text
            left -= len(text.encode())
            if left <= 0:
                return


def write_run(run_dir: Path, texts: Iterable[tuple[str, str]]) -> int:
    """Write the stages before deduplication from paths and texts; gives the bytes of text."""
    (run_dir / "ingest").mkdir(parents=True)
    writer = PartWriter(run_dir / "ingest", "code", 0)
    for path, text in texts:
        language = LANGUAGE_OF.get(Path(path).suffix, "code")
        writer.add(Document(digest(path.encode()), text, "code", language, path.partition("/")[0], path))
    writer.flush()
    _finish(run_dir)
    return writer.num_bytes


def write_made_up_run(run_dir: Path, num_documents: int) -> int:
    """Write the stages before deduplication of made-up documents, COPIED of them near copies; gives their bytes."""
    (run_dir / "ingest").mkdir(parents=True)
    rng = np.random.default_rng(1)
    vocabulary = np.array([f"w{rng.integers(16**5):05x} " for _ in range(WORDS)], f"S{WORD_BYTES}")
    per_part = PART_BYTES // (WORDS_PER_DOCUMENT * WORD_BYTES)
    for place, start in enumerate(range(0, num_documents, per_part)):
        words = rng.integers(WORDS, size=(min(per_part, num_documents - start), WORDS_PER_DOCUMENT))
        copies = np.flatnonzero(rng.random(len(words)) < COPIED)
        words[copies] = words[rng.integers(len(words), size=len(copies))]
        words[copies, rng.integers(WORDS_PER_DOCUMENT, size=len(copies))] = rng.integers(WORDS, size=len(copies))
        data = np.ascontiguousarray(vocabulary[words]).view(np.uint8)
        offsets = np.arange(len(words) + 1, dtype=np.int32) * (WORDS_PER_DOCUMENT * WORD_BYTES)
        texts = pa.Array.from_buffers(pa.string(), len(words), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
        name = part_name("code", place // 1000, place % 1000)
        write_table(run_dir / "ingest" / file_name(DOCUMENTS, name), _made_up_table(start, texts))
    _finish(run_dir)
    return num_documents * WORDS_PER_DOCUMENT * WORD_BYTES


def _made_up_table(start: int, texts: pa.Array) -> pa.Table:
    count = len(texts)
    ids = sorted(digest(number.to_bytes(8, "little")) for number in range(start, start + count))
    names = {"source": "code", "language": "code", "repository": "r", "path": "p", "license": None}
    columns = {name: pa.array([value] * count, SCHEMA.field(name).type) for name, value in names.items()}
    numbers = {name: pa.nulls(count, SCHEMA.field(name).type) for name in ("stars", "forks", "revision_time")}
    return pa.table({"document_id": pa.array(ids, pa.binary(16)), "text": texts, **columns, **numbers}, schema=SCHEMA)


def _finish(run_dir: Path) -> None:
    """Write the tags that deduplication reads, and that the filter keeps everything."""
    for name in ("tag", "filter"):
        (run_dir / name).mkdir()
    for part in part_names(run_dir):
        table = documents_of(run_dir, part)
        texts = table["text"].to_pylist()
        tags = {
            "beginning": [text[:200] for text in texts],
            "num_bytes": [len(text.encode()) for text in texts],
            "num_characters": [len(text) for text in texts],
            "num_words": [num_words(text) for text in texts],
        }
        hashes = pa.array([digest(" ".join(text.split()).encode()) for text in texts], pa.binary(16))
        tagged = table.drop_columns(["text"]).append_column("content_hash", hashes)
        for name, values in tags.items():
            tagged = tagged.append_column(name, pa.array(values))
        write_table(run_dir / "tag" / file_name(TAGS, part), tagged)
        write_decisions(run_dir / "filter", part, tagged, np.ones(len(tagged), dtype=bool), [None] * len(tagged))
    for name in STAGES_BEFORE:
        artifacts.write_manifest(run_dir / name, {"stage": name, "fingerprint": name})


def write_for_peers(folder: Path, run_dir: Path, tasks: int) -> None:
    """Write the documents as the peers read them: `tasks` files of Parquet with an id and a text."""
    folder.mkdir(parents=True)
    parts = iter(part_names(run_dir))
    names = part_names(run_dir)
    for task in range(tasks):
        own = list(islice(parts, len(names) // tasks + (task < len(names) % tasks)))
        table = pa.concat_tables([documents_of(run_dir, part, ["document_id", "text"]) for part in own])
        ids = pa.array([identity.hex() for identity in table["document_id"].to_pylist()])
        write_table(folder / f"{task:05d}.parquet", pa.table({"id": ids, "text": table["text"]}))


def rules_of(bands: int, rows: int, similarity: float) -> list[str]:
    """Give a recipe's keys for a search."""
    keys = {"bands": bands, "rows_per_band": rows, "similarity": similarity, "permutations": PERMUTATIONS}
    return [f"deduplication.{name}={value}" for name, value in keys.items()]


def main(arguments: Sequence[str]) -> None:
    """Deduplicate one run, as the pipeline does, and print the stage's account of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the run's folder, made by the benchmark")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--memory-megabytes", type=int, default=8_000)
    parser.add_argument("--bands", type=int, default=42)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--similarity", type=float, default=0.7)
    options = parser.parse_args(arguments)
    machine = [f"machine.workers={options.workers}", f"machine.memory_megabytes={options.memory_megabytes}"]
    recipe = load(DataRecipe, RECIPE, machine + rules_of(options.bands, options.rows, options.similarity))
    (stage,) = [stage for stage in STAGES if stage.name == "deduplicate"]
    manifest: dict[str, Any] = do(stage, recipe, options.run)
    names = ("sources", "searched_documents", "candidate_pairs", "verified_pairs", "planted", "seconds")
    print(json.dumps({name: manifest[name] for name in names}))


if __name__ == "__main__":
    run_program(main)
