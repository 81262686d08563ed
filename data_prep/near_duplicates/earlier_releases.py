"""Earlier releases: finished runs whose kept documents a new release must not repeat.

Their folders are only read. What is compared are their stored band hashes, content hashes and, to verify, their texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from data_prep.near_duplicates.band_index import index_runs
from data_prep.near_duplicates.candidates import (
    FULLY_COMPARED,
    SORTED_PAIR_BYTES,
    BandRange,
    Pairs,
    band_ranges,
    packed,
    unique_pairs,
    unpacked,
    write_pairs,
)
from data_prep.near_duplicates.columns import Column, Run, gathered, new_array, open_array, open_columns
from data_prep.near_duplicates.minhash import Hashes, index_version
from data_prep.near_duplicates.ranking import ids_in
from data_prep.near_duplicates.shingle_files import ShingleFiles, write_shingles
from data_prep.near_duplicates.states import SEARCHED
from data_prep.near_duplicates.survey import Survey, survey
from data_prep.near_duplicates.verification import Sides, verify
from data_prep.work import Facts, Work

KEY = "deduplication.against"
NEEDED = ("ingest", "tag", "deduplicate")
EARLIER = ".earlier"


@dataclass(frozen=True)
class Release:
    """An earlier run; its documents' rows are counted from `first_row` among those of all earlier runs."""

    name: str
    survey: Survey
    first_row: int
    index: dict[str, Any]

    @property
    def contents(self) -> list[Run]:
        """Give its content hashes."""
        return [replace(run, first_row=run.first_row + self.first_row) for run in self.survey.contents]

    @property
    def bands(self) -> list[Run]:
        """Give its band hashes."""
        return index_runs(self.survey.run_dir / "deduplicate", self.index, self.first_row)


@dataclass(frozen=True)
class Releases:
    """All earlier runs, with two arrays over their rows: which documents count, and their ids."""

    releases: tuple[Release, ...]
    folder: Path

    @property
    def num_rows(self) -> int:
        """Count the rows of all of them."""
        return sum(release.survey.num_rows for release in self.releases)

    @property
    def is_kept(self) -> npt.NDArray[np.bool_]:
        """Tell for each row whether the earlier run kept its document."""
        return open_array(self.folder / "kept", np.bool_)

    @property
    def ids(self) -> npt.NDArray[np.bytes_]:
        """Give each row's document id."""
        return open_array(self.folder / "ids", "S16")

    def names_of(self, rows: Column) -> list[str]:
        """Name the release of each row."""
        firsts = [release.first_row for release in self.releases]
        return [self.releases[index].name for index in np.searchsorted(firsts, rows, side="right") - 1]


def manifests_of(recipe: DataRecipe) -> dict[str, Any]:
    """Check the earlier runs that a recipe names, and give by path the fingerprints of what is read of them."""
    found: dict[str, Any] = {}
    for path in recipe.deduplication.against:
        manifests = {name: artifacts.read_manifest(Path(path).expanduser() / name) for name in NEEDED}
        for name, manifest in manifests.items():
            if manifest is None:
                raise UserError(
                    f"{KEY}: {path} has no finished {name} stage; name the folder of a data run "
                    f"that holds at least {', '.join(NEEDED)}"
                )
        index = (manifests["deduplicate"] or {}).get("index")
        if index is None:
            raise UserError(f"{KEY}: {path}/deduplicate holds no index of band hashes; prepare that release again")
        _require_version(path, index["version"], asdict(index_version(recipe.deduplication)))
        found[path] = {name: manifest and manifest["fingerprint"] for name, manifest in manifests.items()}
    return found


def _require_version(path: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    for key, value in ours.items():
        if theirs.get(key) != value:
            raise UserError(
                f"{KEY}: {path} was indexed with {key}={theirs.get(key)!r} and this recipe has {key}={value!r}; band "
                f"hashes of two kinds never meet, so use that recipe's [deduplication] or prepare that release again"
            )


def open_releases(work: Work) -> Releases:
    """Survey the earlier runs."""
    releases: list[Release] = []
    first_row = 0
    for number, path in enumerate(work.recipe.deduplication.against):
        run_dir = Path(path).expanduser().resolve()
        manifest = artifacts.verify_manifest(run_dir / "deduplicate")
        surveyed = survey(work, run_dir, stage="deduplicate", into=f"{EARLIER}/survey-{number}")
        releases.append(Release(path, surveyed, first_row, manifest["index"]))
        first_row += surveyed.num_rows
    opened = Releases(tuple(releases), work.folder / EARLIER)
    is_kept = new_array(opened.folder / "kept", first_row, np.bool_)
    ids = new_array(opened.folder / "ids", first_row, "S16")
    for release in releases:
        for run in release.survey.keys:
            keys, rows = gathered([replace(run, first_row=run.first_row + release.first_row)], ["key", "row"])
            is_kept[rows], ids[rows] = True, ids_in(keys)
    return opened


def nearly_released(
    work: Work, surveyed: Survey, index: Sequence[Run], states: Path, releases: Releases, *, entries: int, share: int
) -> list[Run]:
    """Give the verified pairs of a new document's row and an earlier one's."""
    entries += sum(release.index["documents"] for release in releases.releases)
    bands = [run for release in releases.releases for run in release.bands]
    facts = work.produce(
        partial(_find_in_band, index=index, states=states, bands=bands, releases=releases, share=share),
        band_ranges(work.recipe.deduplication.bands, entries, share),
        name=lambda task: task.name,
        description="deduplicate: candidates in earlier releases",
        unit="band ranges",
        into=f"{EARLIER}/found",
    )
    runs = [Run(work.folder / EARLIER / "found" / name) for each in facts for name in each["files"]]
    count = sum(each["pairs"] for each in facts)
    candidates = unique_pairs(work, runs, count, share_bytes=share, into=f"{EARLIER}/pairs")
    sides = Sides(*_shingles(work, surveyed, candidates, releases), ranks=None)
    return verify(work, candidates, sides, into=f"{EARLIER}/verified")[0]


def _find_in_band(
    task: BandRange,
    folder: Path,
    *,
    index: Sequence[Run],
    states: Path,
    bands: Sequence[Run],
    releases: Releases,
    share: int,
) -> Facts:
    """Pair new and earlier documents that share a hash in one range of one band; runs in a worker."""
    state, is_kept = open_array(states, np.uint8), releases.is_kept

    def pieces() -> Iterator[Pairs]:
        for band in task.bands:
            hashes, rows = task.entries(index, band)
            known, known_rows = task.entries(bands, band)
            new, old = state[rows] == SEARCHED, is_kept[known_rows]
            yield from pairs_across(hashes[new], rows[new], known[old], known_rows[old])

    return write_pairs(folder, task.name, pieces(), most=share // SORTED_PAIR_BYTES)


def pairs_across(hashes: Hashes, rows: Column, known: Hashes, known_rows: Column) -> Iterator[Pairs]:
    """Give the pairs of a document and a known one that share a hash, with at most FULLY_COMPARED known ones each."""
    order = np.lexsort((known_rows, known))
    known, known_rows = known[order], known_rows[order]
    first, last = np.searchsorted(known, hashes, side="left"), np.searchsorted(known, hashes, side="right")
    for place in range(FULLY_COMPARED):
        has_one = first + place < last
        if not has_one.any():
            return
        yield packed(rows[has_one], known_rows[first[has_one] + place])


def _shingles(
    work: Work, surveyed: Survey, candidates: Sequence[Run], releases: Releases
) -> tuple[ShingleFiles, ShingleFiles]:
    """Write the n-grams of the documents that candidates name, new and earlier ones."""
    ngram_words, folder = work.recipe.deduplication.ngram_words, work.folder / EARLIER
    named = new_array(folder / "named", surveyed.num_rows, np.bool_)
    known = [
        new_array(folder / f"named-{n}", each.survey.num_rows, np.bool_) for n, each in enumerate(releases.releases)
    ]
    firsts = [release.first_row for release in releases.releases]
    for run in candidates:
        new, earlier = unpacked(open_columns(run.path)["pair"])
        named[new] = True
        release_of = np.searchsorted(firsts, earlier, side="right") - 1
        for number, first in enumerate(firsts):
            known[number][earlier[release_of == number] - first] = True
    ours = write_shingles(work, surveyed, folder / "named", ngram_words=ngram_words, into=f"{EARLIER}/ngrams")
    paths: tuple[Path, ...] = ()
    rows: tuple[int, ...] = ()
    for number, release in enumerate(releases.releases):
        into = f"{EARLIER}/ngrams-{number}"
        files = write_shingles(work, release.survey, folder / f"named-{number}", ngram_words=ngram_words, into=into)
        paths, rows = paths + files.paths, rows + tuple(row + release.first_row for row in files.first_rows)
    return ours, ShingleFiles(paths, rows)
