"""The files that a source's `paths` name: single files, globs, and all of a kind below a folder."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codellama_train.console import UserError
from data_prep.removals import Removals
from data_prep.sources.untrusted_files import FoundFile, LeftOut, find_files, shown

LARGEST_FILE = 1 << 62  # bytes: no bound


@dataclass(frozen=True)
class InputFile:
    """A file of one source; `label` names it in ids, and is the same on a machine that keeps it elsewhere."""

    path: str
    label: str
    num_bytes: int


def input_files(
    key: str, paths: Sequence[str], is_wanted: Callable[[str], bool], kinds: str, removals: Removals
) -> list[InputFile]:
    """Find the files, each once, in the order of the recipe's paths and then of names.

    `is_wanted` chooses by name below folders; what is named itself is taken as it is. `kinds` says it to a person.
    """
    files: dict[Path, InputFile] = {}
    labels: set[str] = set()
    for path in paths:
        found = [file for file in _named(key, path, is_wanted, kinds, removals) if file.path not in files]
        for file in found:
            label = _unused(shown(file.relative), labels)
            labels.add(label)
            files[file.path] = InputFile(str(file.path), label, file.num_bytes)
    return list(files.values())


def _named(
    key: str, path: str, is_wanted: Callable[[str], bool], kinds: str, removals: Removals
) -> Iterator[FoundFile]:
    """Give the files that one of the paths names."""
    expanded = Path(path).expanduser()
    if expanded.is_dir():
        found = list(_below(key, expanded.resolve(), is_wanted, removals))
    else:
        base = _fixed_folder(expanded)
        matching = [expanded] if expanded.is_file() else _matching(base, expanded)
        found = [_found(file.absolute(), base.absolute()) for file in matching]
    if not found:
        raise UserError(f"{key}.paths names {path!r}, where there is no {kinds}; give files, folders or globs")
    yield from found


def _below(key: str, folder: Path, is_wanted: Callable[[str], bool], removals: Removals) -> Iterator[FoundFile]:
    for entry in find_files(
        folder, exclude_folders=[], max_file_bytes=LARGEST_FILE, is_wanted=lambda path: is_wanted(path.name)
    ):
        if isinstance(entry, FoundFile):
            yield entry
        elif isinstance(entry, LeftOut):
            path = shown(folder / entry.relative)
            removals.add(key.rpartition(".")[2], entry.reason, path=path, text=entry.detail, num_bytes=entry.num_bytes)


def _matching(base: Path, pattern: Path) -> Iterable[Path]:
    return sorted(path for path in base.glob(str(pattern.relative_to(base))) if path.is_file())


def _fixed_folder(pattern: Path) -> Path:
    """Give the folder before the first part of a glob that has wildcards."""
    parts = pattern.parts
    first = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:first])


def _found(path: Path, base: Path) -> FoundFile:
    return FoundFile(path, path.relative_to(base), path.stat().st_size)


def _unused(label: str, labels: set[str]) -> str:
    """Tell files of one name apart by a number."""
    numbered = (label if number == 1 else f"{label}-{number}" for number in range(1, len(labels) + 2))
    return next(name for name in numbered if name not in labels)


def shares(files: Sequence[InputFile], max_bytes: int | None) -> list[int | None]:
    """Divide a source's size cap over its files by their sizes; None is no bound.

    So what is read does not depend on the order the files are read in, nor on who reads them.
    """
    if max_bytes is None:
        return [None] * len(files)
    total = max(sum(file.num_bytes for file in files), 1)
    return [-(-max_bytes * file.num_bytes // total) for file in files]
