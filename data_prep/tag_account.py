"""The account that a data run gives of its tags: languages and licences before and after, sweeps, rules' overlap.

Tags and decisions are read a part at a time, texts never. The result is kept beside the stages and made anew only when
one of them changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from codellama_train import artifacts
from codellama_train.recipe.data_rules import Filters
from data_prep.decisions import numbers
from data_prep.filter import hits_of
from data_prep.parts import kept_by, part_names, source_of, tags_of
from data_prep.shards.origins import NOT_KNOWN
from data_prep.sweeps import GRID, WHOLE_GRID, Sweep, as_json, count_mark, marks, numeric_tags, overlap, sweep
from data_prep.work import Work

ACCOUNT_FILE = "tag_account.json"
GROUPS = {"languages": "language", "licenses": "license"}
ACCOUNTED_STAGES = ("tag", "filter", "split")  # the last says which documents the shards are made of
LANGUAGES = "languages"  # the filters' table of rules for single languages
SIZES = ("documents_in", "bytes_in", "documents_out", "bytes_out")

Sizes = npt.NDArray[np.int64]  # SIZES


@dataclass
class Account:
    """What is counted of one part, or of several parts of one source."""

    groups: dict[str, dict[str, Sizes]] = field(default_factory=lambda: {name: {} for name in GROUPS})
    sweeps: dict[str, Sweep] = field(default_factory=dict)
    marks: dict[str, dict[str, int]] = field(default_factory=dict)
    rules: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, other: Account) -> None:
        """Add another part's counts."""
        for name, theirs in other.groups.items():
            for value, sizes in theirs.items():
                self.groups[name][value] = self.groups[name].get(value, np.zeros(4, np.int64)) + sizes
        for tag, swept in other.sweeps.items():
            self.sweeps[tag] = self.sweeps[tag] + swept if tag in self.sweeps else swept
        for ours, theirs_named in ((self.marks, other.marks), (self.rules, other.rules)):
            for name, counts in theirs_named.items():
                ours[name] = {key: ours.get(name, {}).get(key, 0) + count for key, count in counts.items()}


def tag_account(work: Work) -> dict[str, Any]:
    """Give the account, by source; the one that was written before if the stages are still the same."""
    made_of = [artifacts.manifest_fingerprint(work.output_of(stage)) for stage in ACCOUNTED_STAGES]
    path = work.run_dir / ACCOUNT_FILE
    if path.is_file() and (stored := artifacts.read_json(path))["made_of"] == made_of:
        sources: dict[str, Any] = stored["sources"]
        return sources
    filters, parts = work.recipe.filters, part_names(work.run_dir)
    count = partial(_account_of_part, run_dir=work.run_dir, filters=filters)
    accounts: dict[str, Account] = {}
    for part, account in zip(parts, work.map(count, parts, description="account of tags", unit="parts"), strict=True):
        accounts.setdefault(source_of(part), Account()).add(account)
    sources = {name: _as_json(account, filters.get(name)) for name, account in accounts.items()}
    artifacts.write_json(path, {"made_of": made_of, "sources": sources})
    return sources


def _account_of_part(part: str, run_dir: Path, filters: Mapping[str, Filters]) -> Account:
    """Count one part; runs in a worker."""
    tags, own = tags_of(run_dir, part), filters.get(source_of(part))
    num_bytes = numbers(tags, "num_bytes").astype(np.int64)
    account = Account()
    for name, column in GROUPS.items():
        account.groups[name] = _sizes_by(tags[column], num_bytes, kept_by(run_dir, "split", part))
    for tag in numeric_tags(tags.schema):
        thresholds = [rule["threshold"] for rule in thresholds_of(own, tag)]
        grid = WHOLE_GRID if pa.types.is_integer(tags.schema.field(tag).type) else GRID
        account.sweeps[tag] = sweep(numbers(tags, tag).astype(np.float64), num_bytes, thresholds, grid=grid)
    for tag in marks(tags.schema):
        account.marks[tag] = count_mark(numbers(tags, tag).astype(np.float64), num_bytes)
    if own is not None:
        account.rules = overlap(_drops(tags, own), num_bytes)
    return account


def _sizes_by(column: pa.ChunkedArray, num_bytes: Sizes, kept: npt.NDArray[np.bool_]) -> dict[str, Sizes]:
    """Count documents and bytes, before and after, by the values of a column."""
    encoded = pc.fill_null(column, NOT_KNOWN).combine_chunks().dictionary_encode()
    places, names = np.asarray(encoded.indices), encoded.dictionary.to_pylist()
    weights = (np.ones(len(kept)), num_bytes, kept, num_bytes * kept)
    sums = np.stack([np.bincount(places, weights=row, minlength=len(names)) for row in weights]).astype(np.int64)
    return {name: sums[:, place] for place, name in enumerate(names)}


def _drops(tags: pa.Table, filters: Filters) -> dict[str, npt.NDArray[np.bool_]]:
    """Give what each line of the filters would drop were it the only one, in whichever languages it holds."""
    drops: dict[str, npt.NDArray[np.bool_]] = {}
    for reason, is_hit in hits_of(tags, filters):
        drops[reason] = drops.get(reason, False) | is_hit
    return {reason: drops[reason] for reason in sorted(drops) if drops[reason].any()}


def thresholds_of(filters: Filters | None, tag: str) -> list[dict[str, Any]]:
    """List the thresholds that a source's filters have for a tag; `language` is None where it is all."""
    table = filters.model_dump(mode="json", exclude_none=True) if filters is not None else {}
    lines = {None: table.get(tag), **{name: own.get(tag) for name, own in table.get(LANGUAGES, {}).items()}}
    return [
        {"drops": direction, "threshold": float(line[direction]), "language": language}
        for language, line in lines.items()
        for direction in ("above", "below")
        if isinstance(line, dict) and direction in line and math.isfinite(line[direction])  # inf switches one off
    ]


def _as_json(account: Account, filters: Filters | None) -> dict[str, Any]:
    groups = {
        name: {
            value: dict(zip(SIZES, sizes.tolist(), strict=True))
            for value, sizes in sorted(values.items(), key=lambda item: (-item[1][1], item[0]))
        }
        for name, values in account.groups.items()
    }
    sweeps = {
        tag: {
            **as_json(swept, [rule["threshold"] for rule in thresholds_of(filters, tag)]),
            "rules": thresholds_of(filters, tag),
        }
        for tag, swept in account.sweeps.items()
    }
    return {**groups, "sweeps": sweeps, "marks": account.marks, "rules": account.rules}
