"""Stage 4, deduplicate: equal texts by hash, then near-equal ones by MinHash candidates and exact similarity.

All sources are searched together, and against earlier releases. Clusters are what chains of verified pairs connect, and
serve the split and the decontamination; removal goes by rank, and only where a near copy is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codellama_train.recipe.data import DataRecipe
from data_prep.decisions import ACCOUNT_COLUMNS, merge_facts, write_decisions
from data_prep.near_duplicates.band_index import index_runs, write_index
from data_prep.near_duplicates.candidates import find_candidates, unpacked
from data_prep.near_duplicates.cluster_table import cluster_account, write_cluster_table
from data_prep.near_duplicates.clusters import CLUSTERS
from data_prep.near_duplicates.columns import PLACES_AT_A_TIME, Run, chunks, mark, new_array, open_array, open_columns
from data_prep.near_duplicates.earlier_releases import Releases, manifests_of, nearly_released, open_releases
from data_prep.near_duplicates.exact_copies import find_exact_copies
from data_prep.near_duplicates.matches import Matches, write_released
from data_prep.near_duplicates.planted import SAMPLES, recall_account, search_planted
from data_prep.near_duplicates.removal import components, removed_copies
from data_prep.near_duplicates.shingle_files import write_shingles
from data_prep.near_duplicates.states import EXACT_COPY, EXACTLY_RELEASED, NEAR_COPY, NEARLY_RELEASED, REASONS, SEARCHED
from data_prep.near_duplicates.survey import NONE, Group, Ranks, Survey, rank, survey
from data_prep.near_duplicates.verification import Sides, verified_pairs, verify
from data_prep.parts import documents_of, kept_by, tags_of
from data_prep.work import Facts, Work

# What a process takes before it sorts anything: Python, NumPy, Arrow, Daft and one part's texts.
PROCESS_BYTES = 200_000_000
LEAST_SHARE_BYTES = 4_000_000
PARTS_PER_DECISION = 64
ARRAYS = ".arrays"


def inputs_of(recipe: DataRecipe) -> Any:
    """Give what decides the stage's output: its keys, and what is read of earlier releases."""
    return [recipe.deduplication.model_dump(mode="json"), manifests_of(recipe)]


def run(work: Work) -> dict[str, Any]:
    """Write the decisions, the index, and every near-duplicate cluster with the copy that is kept for each member."""
    share = max(work.memory_bytes // (work.workers + 1) - PROCESS_BYTES, LEAST_SHARE_BYTES)
    arrays, releases = work.folder / ARRAYS, open_releases(work)
    surveyed = survey(work, work.run_dir, stage="filter", into=".survey", num_samples=SAMPLES)
    ranks = rank(work, surveyed, share_bytes=share, into=".ranks")
    matches = Matches(work.folder / ARRAYS)
    matches.begin(surveyed.num_rows)
    states = _exact_copies(work, surveyed, ranks, releases, matches, share)
    index = write_index(work, surveyed, states)
    runs, entries = index_runs(work.folder, index), index["documents"]
    if releases.releases:
        repeated = nearly_released(work, surveyed, runs, states, releases, entries=entries, share=share)
        _mark_repeated(states, matches, repeated)
    candidates = find_candidates(work, runs, ranks, states, entries=entries, share_bytes=share, into=".pairs")
    verified, num_verified = _verified(work, surveyed, ranks, candidates)
    clusters = components(arrays / "clusters", surveyed.num_documents, verified_pairs(verified))
    copies, similarities = removed_copies(arrays, surveyed.num_documents, verified_pairs(verified))
    _mark_near_copies(states, ranks, copies)
    write_cluster_table(work.folder / CLUSTERS, ranks, clusters, copies, similarities, share_bytes=share)
    return {
        **_decide(work, surveyed, states, matches, releases),
        "index": index,
        "searched_documents": entries,
        "candidate_pairs": sum(len(open_columns(run.path)["pair"]) for run in candidates),
        "verified_pairs": num_verified,
        "clusters": cluster_account(arrays, surveyed, ranks, clusters),
        "planted": recall_account(_planted(work, surveyed), work.recipe.deduplication),
    }


def _exact_copies(work: Work, surveyed: Survey, ranks: Ranks, releases: Releases, matches: Matches, share: int) -> Path:
    """Find equal texts; gives the file of the documents' states."""
    known = [run for release in releases.releases for run in release.contents]
    found = find_exact_copies(
        work, surveyed, ranks, known, num_earlier=releases.num_rows, share_bytes=share, into=".exact"
    )
    path = work.folder / ARRAYS / "states"
    states = new_array(path, surveyed.num_rows, np.uint8)
    mark(states, ranks.rows, SEARCHED)
    for copies in map(open_columns, found):
        mark(states, copies["copy"], EXACT_COPY)
        mark(states, copies["released"], EXACTLY_RELEASED)
        matches.add(copies["released"], copies["match"], np.ones(len(copies["match"])))
    return path


def _mark_repeated(states: Path, matches: Matches, repeated: Sequence[Run]) -> None:
    """Note the documents that are nearly those of earlier releases."""
    state = open_array(states, np.uint8, "r+")
    for rows, earlier, similarity in verified_pairs(repeated):
        matches.add(rows, earlier, similarity)
        state[rows] = NEARLY_RELEASED


def _mark_near_copies(states: Path, ranks: Ranks, copies: npt.NDArray[np.uint32]) -> None:
    """Note the documents that have a better near copy."""
    state = open_array(states, np.uint8, "r+")
    for number, some in enumerate(chunks(copies, PLACES_AT_A_TIME)):
        dropped = number * PLACES_AT_A_TIME + np.flatnonzero(some != NONE)
        state[ranks.rows[dropped]] = NEAR_COPY


def _verified(work: Work, surveyed: Survey, ranks: Ranks, candidates: Sequence[Run]) -> tuple[list[Run], int]:
    """Verify the candidates; gives the files of verified pairs and their number."""
    path = work.folder / ARRAYS / "named"
    named = new_array(path, surveyed.num_rows, np.bool_)
    for run in candidates:
        for pairs in chunks(open_columns(run.path)["pair"], PLACES_AT_A_TIME):
            for members in unpacked(pairs):
                named[ranks.rows[members]] = True
    sets = write_shingles(work, surveyed, path, ngram_words=work.recipe.deduplication.ngram_words, into=".ngrams")
    return verify(work, candidates, Sides(sets, sets, ranks), into=".verified")


def _planted(work: Work, surveyed: Survey) -> list[Any]:
    """Search for planted copies of the documents of smallest id."""
    texts: list[tuple[str, str]] = []
    for part in sorted({part for _, part, _ in surveyed.samples}):
        own = {row: identity for identity, of, row in surveyed.samples if of == part}
        table = documents_of(surveyed.run_dir, part, ["text"]).take(pa.array(list(own)))
        texts += zip(own.values(), table["text"].to_pylist(), strict=True)
    return search_planted(sorted(texts), work.recipe.deduplication)


def _decide(work: Work, surveyed: Survey, states: Path, matches: Matches, releases: Releases) -> dict[str, Any]:
    """Write the decisions of every part."""
    facts = work.produce(
        partial(_decide_group, run_dir=work.run_dir, states=states, matches=matches, releases=releases),
        surveyed.groups(PARTS_PER_DECISION),
        name=lambda task: task.name,
        description="deduplicate: decided",
        unit="parts",
        size=lambda task: len(task.parts),
    )
    return merge_facts(facts)


def _decide_group(
    group: Group, folder: Path, *, run_dir: Path, states: Path, matches: Matches, releases: Releases
) -> Facts:
    """Write the decisions of a group of parts; runs in a worker."""
    state = open_array(states, np.uint8)
    facts, first = [], group.first_row
    for part in group.parts:
        tags = tags_of(run_dir, part, ACCOUNT_COLUMNS)
        rows = slice(first, first + len(tags))
        reasons = [REASONS.get(value) for value in state[rows].tolist()]
        facts.append(write_decisions(folder, part, tags, kept_by(run_dir, "filter", part), reasons))
        if releases.releases:
            write_released(folder, part, tags, *matches.of(rows), releases)
        first = rows.stop
    return merge_facts(facts)
