"""Files of bare git repositories, listed and read from their objects without a work tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.sources.found_files import File, History
from data_prep.sources.git_objects import GitFailure, TreeEntry, commit_of, contents_of, files_at
from data_prep.sources.repository_license import license_of_names
from data_prep.sources.roots import Repository
from data_prep.sources.untrusted_files import LeftOut, in_excluded_folder, reason_against
from data_prep.tags.licenses import LICENSE_BYTES

LINK, SUBMODULE = b"120000", b"160000"
LARGEST_LICENSE_FILE = 50 * LICENSE_BYTES


def files_of_bare(
    folder: Path,
    name: str,
    revision: str | None,
    *,
    exclude_folders: Sequence[str],
    max_file_bytes: int,
    is_wanted: Callable[[Path], bool],
) -> Iterator[File | LeftOut]:
    """List the files of a bare repository at a revision, each to be read or left out for a named reason."""
    try:
        history = History(str(folder), commit_of(folder, revision))
        entries = list(files_at(folder, history.commit))
        repository = Repository(name, _license_of(history, entries))
    except (GitFailure, OSError) as failure:
        yield LeftOut(folder, "unreadable_repository", detail=str(failure))
        return
    for entry in entries:
        relative = Path(os_path(entry.path))
        num_bytes = entry.num_bytes or 0
        reason = _reason_against(entry) or _reason_against_path(relative)
        if reason is None and in_excluded_folder(relative, exclude_folders):
            reason = "excluded_folder"
        reason = reason or reason_against(relative, num_bytes, max_file_bytes, is_wanted)
        if reason is not None:
            yield LeftOut(folder / relative, reason, num_bytes)
        else:
            yield File(entry.blob, relative, num_bytes, repository, history, entry.path, is_object=True)


def contents_of_bare(
    bare: Mapping[str, str], files: Sequence[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], bytes | LeftOut]]:
    """Read planned objects of one repository; what comes after an object that is damaged is left out too."""
    remaining = iter(files)
    objects = contents_of(Path(bare["git_folder"]), bare["commit"], [file["place"] for file in files])
    try:
        for content in objects:
            yield next(remaining), content
    except (GitFailure, OSError) as failure:
        for file in remaining:
            path = Path(bare["git_folder"]) / file["relative"]
            yield file, LeftOut(path, "unreadable", file["num_bytes"], str(failure))


def _reason_against(entry: TreeEntry) -> str | None:
    if entry.mode == LINK:
        return "link_in_repository"
    if entry.mode == SUBMODULE:
        return "submodule"
    return "missing_object" if entry.num_bytes is None else None


def _reason_against_path(relative: Path) -> str | None:
    """Refuse names that git itself would never check out."""
    return "path_out_of_repository" if relative.is_absolute() or ".." in relative.parts else None


def _license_of(history: History, entries: Sequence[TreeEntry]) -> str | None:
    blobs = {
        os_path(entry.path): entry.blob
        for entry in entries
        if b"/" not in entry.path and _reason_against(entry) is None and (entry.num_bytes or 0) <= LARGEST_LICENSE_FILE
    }

    def read(name: str) -> bytes:
        return next(contents_of(Path(history.git_folder), history.commit, [blobs[name]]))

    return license_of_names(blobs, read)


def os_path(path: bytes) -> str:
    """Give a tracked path as text, odd bytes escaped as Python escapes those of the file system."""
    return path.decode("utf-8", errors="surrogateescape")
