"""Accuracy of near-duplicate search: its verified pairs beside the exact similarity of all pairs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from near_runs import RECIPE, corpus_texts, rules_of, write_run

from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.loading import load
from data_prep import deduplicate
from data_prep.near_duplicates.columns import Run
from data_prep.near_duplicates.planted import altered
from data_prep.near_duplicates.shingles import bitmaps, most_similar, shingle_sets
from data_prep.near_duplicates.survey import Ranks
from data_prep.near_duplicates.verification import verified_pairs
from data_prep.near_duplicates.word_buffers import word_buffers
from data_prep.words import ngrams, words_of
from data_prep.work import Work

REAL, PLANTED, MOST_REPLACED = 2_400, 600, 0.2
CORPUS_MEGABYTES = 60.0  # from which the real ones are drawn
LEAST = 0.7  # of the similarities that are asked for
Pairs = dict[tuple[bytes, bytes], float]


class Accuracy(NamedTuple):
    """How the pairs found compare with the true ones."""

    true_pairs: int
    precision: float
    recall: float
    candidates_per_true_pair: float


def sample(cache: Path, seed: int) -> dict[str, str]:
    """Draw real documents of different content and plant copies of some, with up to a fifth of their lines replaced."""
    rng = random.Random(seed)
    different = {" ".join(text.split()): (path, text) for path, text in corpus_texts(cache, CORPUS_MEGABYTES)}
    documents = dict(rng.sample(sorted(different.values()), REAL))
    copied = [path for path in rng.sample(sorted(documents), REAL) if documents[path].count("\n") >= 10]
    for path in islice(copied, PLANTED):
        copy = altered(documents[path], rng, separator="\n", most=MOST_REPLACED)
        documents[f"planted/{path}"] = copy if copy != documents[path] else copy + "\none more line"
    return documents


def write_sample(run_dir: Path, cache: Path, seed: int) -> tuple[Path, Pairs]:
    """Write a run of a sample; gives its folder and the true pairs at or above LEAST."""
    write_run(run_dir, sample(cache, seed).items())
    from data_prep.parts import documents_of, part_names

    tables = [documents_of(run_dir, part, ["document_id", "text"]) for part in part_names(run_dir)]
    texts = {row["document_id"]: row["text"] for table in tables for row in table.to_pylist()}
    return run_dir, true_pairs(texts)


def true_pairs(texts: Mapping[bytes, str]) -> Pairs:
    """Compare all pairs plainly; only those are passed over whose bitmaps bound their similarity below LEAST."""
    ids = sorted(texts)
    words = word_buffers(pa.array([texts[identity] for identity in ids], pa.large_string()))
    hashed = shingle_sets(words, 5)
    maps, sizes = bitmaps(hashed), np.diff(hashed.offsets)
    sets = [frozenset(ngrams(words_of(texts[identity]), 5)) for identity in ids]
    found: Pairs = {}
    for index in range(len(ids) - 1):
        others = slice(index + 1, None)
        bound = most_similar(maps[index : index + 1], maps[others], sizes[index : index + 1], sizes[others])
        for other in (index + 1 + np.flatnonzero(bound >= LEAST)).tolist():
            shared = len(sets[index] & sets[other])
            value = shared / (len(sets[index]) + len(sets[other]) - shared)
            if value >= LEAST:
                found[ids[index], ids[other]] = value
    return found


def accuracy(run_dir: Path, truth: Pairs, *, similarity: float, bands: int, rows: int) -> Accuracy:
    """Search a sample, and compare."""
    recipe = load(DataRecipe, RECIPE, [*rules_of(bands, rows, similarity), "machine.workers=1"])
    folder = run_dir / f"{similarity}-{bands}-{rows}"
    facts = deduplicate.run(Work(recipe, folder, run_dir))
    ids = [identity.ljust(16, b"\0") for identity in Ranks(folder / ".ranks").ids.tolist()]
    files = [Run(path) for path in sorted((folder / ".verified").iterdir())]
    found = set()
    for worse, better, _ in verified_pairs(files):
        found |= {tuple(sorted((ids[a], ids[b]))) for a, b in zip(worse.tolist(), better.tolist(), strict=True)}
    true = {pair for pair, value in truth.items() if value >= similarity}
    candidates = facts["candidate_pairs"] / len(true)
    return Accuracy(len(true), len(found & true) / len(found), len(found & true) / len(true), candidates)
