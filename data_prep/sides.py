"""Which side of the split a document is on: training or held out, by the hash of its repository's name.

So more data never moves a repository. Where a source has too few repositories, or the hash puts all of them on one
side, its repositories are divided by file in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from codellama_train.recipe.data import HeldOut
from data_prep.documents import digest

Unit = tuple[str, ...]  # a repository, or a repository and a path in it


class Files(NamedTuple):
    """A repository's files as far as the split asks: which sides they fall on, the first and the last by hash."""

    is_held_out: bool
    is_trained: bool
    first: Unit
    last: Unit


@dataclass(frozen=True)
class Division:
    """What the hash alone does not say: repositories divided by file, and units moved so that no side is empty."""

    by_file: set[str]
    held_out: set[Unit] = field(default_factory=set)
    trained: set[Unit] = field(default_factory=set)


def is_held_out_by_hash(unit: Unit, rules: HeldOut) -> bool:
    """Tell the side of a repository or file by the hash of its name."""
    value = int.from_bytes(digest(f"{rules.seed}\0{_name(unit)}".encode())[:8], "little")
    return value < rules.fraction * 2**64


def _name(unit: Unit) -> str:
    return "\0".join(unit)


def _order(unit: Unit) -> bytes:
    return digest(_name(unit).encode())


def is_held_out(repository: str, path: str, division: Division, rules: HeldOut) -> bool:
    """Tell the side of a document."""
    unit: Unit = (repository, path) if repository in division.by_file else (repository,)
    if unit in division.held_out or unit in division.trained:
        return unit in division.held_out
    return is_held_out_by_hash(unit, rules)


def files_of(paths: Iterable[tuple[str, str]], rules: HeldOut) -> dict[str, Files]:
    """Summarise the files of each repository, given as (repository, path)."""
    files: dict[str, Files] = {}
    for unit in set(paths):
        held_out = is_held_out_by_hash(unit, rules)
        own = Files(held_out, not held_out, unit, unit)
        files[unit[0]] = joined(files[unit[0]], own) if unit[0] in files else own
    return files


def joined(one: Files, two: Files) -> Files:
    """Put two summaries of one repository's files together."""
    return Files(
        one.is_held_out or two.is_held_out,
        one.is_trained or two.is_trained,
        min(one.first, two.first, key=_order),
        max(one.last, two.last, key=_order),
    )


def divide(sources: Mapping[str, Mapping[str, Files]], rules: HeldOut) -> Division:
    """Decide what the hash leaves open; a source always has at least one unit on each side, if it has two."""
    division = Division(_divided_by_file(sources, rules))
    for _, repositories in sorted(sources.items()):
        own = [_as_units(name, files, division, rules) for name, files in repositories.items()]
        first, last = min((each.first for each in own), key=_order), max((each.last for each in own), key=_order)
        if first == last:
            continue
        if not any(each.is_held_out for each in own):
            division.held_out.add(first)
        elif not any(each.is_trained for each in own):
            division.trained.add(last)
    return division


def _divided_by_file(sources: Mapping[str, Mapping[str, Files]], rules: HeldOut) -> set[str]:
    """Give the repositories of every source that whole repositories would not divide well."""
    divided: set[str] = set()
    for repositories in sources.values():
        sides = {is_held_out_by_hash((repository,), rules) for repository in repositories}
        if len(repositories) < rules.min_repositories or len(sides) == 1:
            divided |= repositories.keys()
    return divided


def _as_units(repository: str, files: Files, division: Division, rules: HeldOut) -> Files:
    """Summarise a repository as what is put on a side: the whole of it, or its files."""
    moved = [unit for unit in division.held_out if unit[0] == repository]
    if repository in division.by_file:
        return files._replace(is_held_out=files.is_held_out or bool(moved))
    unit = (repository,)
    held_out = is_held_out(repository, "", division, rules)
    return Files(held_out, not held_out, unit, unit)
