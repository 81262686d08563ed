"""The folders a recipe names, and which repository and licence each file below them belongs to."""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path

from codellama_train.console import UserError
from data_prep.tags.licenses import license_of_folder, license_of_name

STDLIB, SITE_PACKAGES = "{stdlib}", "{site_packages}"
PLACEHOLDERS = {STDLIB: "stdlib", SITE_PACKAGES: "purelib"}
PACKAGE_PLACEHOLDER = re.compile(r"\{package:(\w+)\}")


@dataclass(frozen=True)
class Repository:
    """A unit of origin: one package, one standard-library module, or one checkout."""

    name: str
    license: str | None


@dataclass(frozen=True)
class Root:
    """A folder to read, with the repositories its top-level entries belong to.

    `owners` maps the name of a top-level entry to its repository; what it does not name belongs to `default`, or where
    that is None, to a repository of the entry's own name.
    """

    path: Path
    owners: dict[str, Repository] = field(default_factory=dict)
    default: Repository | None = None
    prefix: str = ""
    license: str | None = None

    def repository_of(self, relative: Path) -> Repository:
        """Tell which repository a file belongs to, by its path below the root."""
        if self.default is not None:
            return self._nearest(relative)
        top = relative.parts[0]
        stem = top.partition(".")[0] or top
        return self.owners.get(top) or self.owners.get(stem) or Repository(self.prefix + stem, self.license)

    def add_checkout(self, relative: Path) -> None:
        """Let the files below a checkout that was found inside the root belong to a repository of its own."""
        if relative.parts:
            license_name = license_of_folder(self.path / relative)
            self.owners[str(relative)] = Repository(self.name_of_repository(relative), license_name)

    def name_of_repository(self, relative: Path) -> str:
        """Name a repository that was found inside the root, or is the root."""
        outer = self.default.name if self.default is not None else self.prefix.removesuffix("/")
        return str(Path(outer) / relative).removesuffix(".git")

    def _nearest(self, relative: Path) -> Repository:
        """Give the innermost checkout that holds the file."""
        assert self.default is not None
        for parent in list(relative.parents)[:-1]:
            if (found := self.owners.get(str(parent))) is not None:
                return found
        return self.default


def resolved_folders(key: str, paths: Sequence[str]) -> list[Path]:
    """Give the folders that a source's `paths` name, or say what is wrong with one of them."""
    folders = [_resolved_folder(key, path) for path in paths]
    for (inner, folder), (outer, parent) in permutations(zip(paths, folders, strict=True), 2):
        is_ours = (inner, outer) == (SITE_PACKAGES, STDLIB)  # so it is outside virtual environments
        if folder.is_relative_to(parent) and not is_ours:
            raise UserError(f"{key} names {parent} and, inside it, {folder}; leave the inner one out")
    return folders


def _resolved_folder(key: str, path: str) -> Path:
    if path in PLACEHOLDERS:
        return Path(sysconfig.get_path(PLACEHOLDERS[path])).resolve()
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"{key} names {path!r}, which is not a folder; give existing folders, {' or '.join(PLACEHOLDERS)}"
        )
    return folder.resolve()


def resolve_roots(key: str, paths: Sequence[str]) -> list[Root]:
    """Turn a source's `paths` into roots; folders of the same name are told apart by a number."""
    roots: list[Root] = []
    names: Counter[str] = Counter()
    for path, folder in zip(paths, resolved_folders(key, paths), strict=True):
        if path == STDLIB:
            roots.append(Root(folder, prefix="stdlib/", license=license_of_folder(folder)))
        elif path == SITE_PACKAGES:
            roots.append(Root(folder, owners=dict(_installed_packages(folder))))
        else:
            names[folder.name] += 1
            name = folder.name if names[folder.name] == 1 else f"{folder.name}-{names[folder.name]}"
            default = Repository(name.removesuffix(".git"), license_of_folder(folder))
            roots.append(Root(folder, default=default))
    return roots


def resolve_file(key: str, path: str, *, remedy: str) -> Path:
    """Find a file a recipe names; `{package:NAME}` stands for an installed package's folder."""
    file = resolve_package(key, path, remedy=remedy)
    if not file.is_file():
        raise UserError(f"{key} = {path!r}: there is no such file; {remedy}")
    return file


def resolve_package(key: str, path: str, *, remedy: str) -> Path:
    """Put an installed package's folder for `{package:NAME}`, and the home folder for `~`."""
    return Path(PACKAGE_PLACEHOLDER.sub(lambda match: _package_folder(key, match[1], remedy), path)).expanduser()


def _package_folder(key: str, name: str, remedy: str) -> str:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{key} needs the package {name!r}, which is not installed; {remedy}")
    return next(iter(spec.submodule_search_locations))


def _installed_packages(folder: Path) -> Iterator[tuple[str, Repository]]:
    """Name the distribution that owns each top-level entry of a site-packages folder, and its own metadata folder.

    Where several share an entry (a namespace package), the first by name owns it.
    """
    for metadata_folder in sorted(folder.glob("*.dist-info"), reverse=True):
        metadata = read_metadata(metadata_folder / "METADATA")
        name = str(metadata["Name"] or metadata_folder.name.partition("-")[0]).lower().replace("_", "-")
        repository = Repository(name, _license_of_package(metadata, metadata_folder))
        record = metadata_folder / "RECORD"
        lines = record.read_text("utf-8", errors="replace").splitlines() if record.is_file() else []
        tops = {line.partition(",")[0].strip('"').partition("/")[0] for line in lines} - {"..", "__pycache__", ""}
        for top in tops | {metadata_folder.name}:
            yield top, repository


def read_metadata(path: Path) -> Message:
    """Read a package's METADATA: its headers, and its description as the payload."""
    text = path.read_text("utf-8", errors="replace") if path.is_file() else ""
    return HeaderParser().parsestr(text)


def _license_of_package(metadata: Message, folder: Path) -> str | None:
    """Tell a package's licence: what its metadata declares, or its licence files."""
    return license_of_metadata(metadata) or license_of_folder(folder) or license_of_folder(folder / "licenses")


def license_of_metadata(metadata: Message) -> str | None:
    """Tell the licence that a package's METADATA declares: its expression, name, classifiers, or the licence's text."""
    named = [str(metadata[header] or "").strip() for header in ("License-Expression", "License")]
    classifiers = [str(classifier) for classifier in metadata.get_all("Classifier", [])]
    stated = [line.rpartition("::")[2].strip() for line in classifiers if line.startswith("License ::")]
    in_order = sorted([*named, *stated], key=len) if "\n" in named[1] else [*named, *stated]
    return next(filter(None, (license_of_name(name) for name in in_order if name)), None)
