"""The stored index of a release: for every band the hashes of its documents' signatures, sorted.

It takes 12 bytes per band and document (504 bytes at 42 bands). A later release is compared with it without hashing the
earlier texts again; which of the documents count is what the earlier run's decisions say.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from codellama_train.recipe.data_duplicates import Deduplication
from data_prep.near_duplicates.columns import Column, Run, open_array, write_columns
from data_prep.near_duplicates.minhash import band_hashes, index_version, signatures
from data_prep.near_duplicates.states import SEARCHED
from data_prep.near_duplicates.survey import Group, Survey
from data_prep.near_duplicates.word_buffers import word_buffers
from data_prep.parts import documents_of, only
from data_prep.work import Facts, Work

INDEX = "bands"
PARTS_PER_TASK = 16  # so that one band's pass opens few files


def write_index(work: Work, surveyed: Survey, states: Path) -> dict[str, Any]:
    """Write the band hashes of all documents that are to be searched; gives the index's entry in the manifest."""
    rules = work.recipe.deduplication
    groups = surveyed.groups(PARTS_PER_TASK)
    facts = work.produce(
        partial(_index_group, run_dir=surveyed.run_dir, states=states, rules=rules),
        groups,
        name=lambda task: task.name,
        description="deduplicate: signatures",
        unit="parts",
        size=lambda task: len(task.parts),
        into=INDEX,
    )
    documents = sum(each["documents"] for each in facts)
    files = [[f"{INDEX}/{group.name}", group.first_row] for group in groups]
    bytes_each = 12 * rules.bands
    return {"version": asdict(index_version(rules)), "documents": documents, "bytes_each": bytes_each, "files": files}


def _index_group(group: Group, folder: Path, *, run_dir: Path, states: Path, rules: Deduplication) -> Facts:
    """Hash the texts of a group of parts; runs in a worker."""
    state = open_array(states, np.uint8)
    rows, hashes = [], []
    first = group.first_row
    for part in group.parts:
        texts = documents_of(run_dir, part, ["text"])
        is_searched = state[first : first + len(texts)] == SEARCHED
        words = word_buffers(only(texts, is_searched)["text"].combine_chunks())
        # A text of fewer words than an n-gram has no signature: such are matched by exact hash only.
        is_long_enough = words.num_words >= rules.ngram_words
        rows.append(np.flatnonzero(is_searched)[is_long_enough] + (first - group.first_row))
        hashes.append(band_hashes(signatures(words, rules), rules)[:, is_long_enough])
        first += len(texts)
    row, by_band = np.concatenate(rows).astype(np.uint32), np.concatenate(hashes, axis=1)
    columns: dict[str, Column] = {}
    for band, values in enumerate(by_band):
        order = np.argsort(values, kind="stable")
        columns |= {f"hash_{band:03d}": values[order], f"row_{band:03d}": row[order]}
    write_columns(folder / group.name, columns)
    return {"documents": len(row)}


def index_runs(folder: Path, index: dict[str, Any], first_row: int = 0) -> list[Run]:
    """Give an index's files, with their rows counted from `first_row`."""
    return [Run(folder / name, first_row + row) for name, row in index["files"]]
