"""Find and read text files in folders that nobody vouches for: every entry is taken or left out for a named reason."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from data_prep.sources.git_objects import is_bare

GIT_FOLDER, NOTEBOOK_SUFFIX = ".git", ".ipynb"
BYTE_ORDER_MARK = "\ufeff"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Refused(Exception):
    """A file that is left out, with the reason."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class FoundFile:
    """A regular file of a wanted kind, not yet read."""

    path: Path
    relative: Path
    num_bytes: int


@dataclass(frozen=True)
class LeftOut:
    """An entry that is not taken, and why."""

    relative: Path
    reason: str
    num_bytes: int = 0
    detail: str = ""


@dataclass(frozen=True)
class FoundRepository:
    """A git checkout, whose files are found one by one, or a bare repository, which is not walked into."""

    path: Path
    relative: Path
    is_bare: bool


def find_files(
    root: Path, *, exclude_folders: Sequence[str], max_file_bytes: int, is_wanted: Callable[[Path], bool]
) -> Iterator[FoundFile | FoundRepository | LeftOut]:
    """Walk a folder in the order of names, without ever following a symbolic link."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield LeftOut(folder.relative_to(root), "unreadable_folder", detail=error.strerror or "")
            continue
        if is_bare([entry.name for entry in ordered]):
            yield FoundRepository(folder, folder.relative_to(root), is_bare=True)
            continue
        subfolders: list[Path] = []
        for entry in ordered:
            relative = Path(entry.path).relative_to(root)
            if entry.name == GIT_FOLDER:
                yield FoundRepository(folder, folder.relative_to(root), is_bare=False)
            elif _is_folder(entry):
                if is_excluded(relative, exclude_folders):
                    yield LeftOut(relative, "excluded_folder")
                else:
                    subfolders.append(Path(entry.path))
            else:
                yield _judge(entry, relative, root, max_file_bytes, is_wanted)
        waiting.extend(reversed(subfolders))


def is_excluded(folder: Path, patterns: Sequence[str]) -> bool:
    """Tell whether a folder is not to be read, by its name, or for patterns with a slash by its path."""
    return any(fnmatch.fnmatch(str(folder) if "/" in pattern else folder.name, pattern) for pattern in patterns)


def in_excluded_folder(relative: Path, patterns: Sequence[str]) -> bool:
    """Tell whether a file lies below a folder that is not to be read, where no walk has left that out."""
    return _is_excluded_or_below(relative.parent, tuple(patterns))


@lru_cache(maxsize=10_000)
def _is_excluded_or_below(folder: Path, patterns: tuple[str, ...]) -> bool:
    return bool(folder.parts) and (is_excluded(folder, patterns) or _is_excluded_or_below(folder.parent, patterns))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # its own judgement will say why
        return False


def _judge(
    entry: os.DirEntry[str], relative: Path, root: Path, max_file_bytes: int, is_wanted: Callable[[Path], bool]
) -> FoundFile | LeftOut:
    """Decide about one entry that is not a folder, by what the file system says about it."""
    try:
        if entry.is_symlink():
            return LeftOut(relative, _reason_of_link(Path(entry.path), root))
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return LeftOut(relative, "unreadable", detail=error.strerror or "")
    if not stat.S_ISREG(status.st_mode):
        return LeftOut(relative, "special_file")
    reason = reason_against(relative, status.st_size, max_file_bytes, is_wanted)
    return (
        LeftOut(relative, reason, status.st_size) if reason else FoundFile(Path(entry.path), relative, status.st_size)
    )


def reason_against(
    relative: Path, num_bytes: int, max_file_bytes: int, is_wanted: Callable[[Path], bool]
) -> str | None:
    """Say why a regular file is left out, by its name and size alone; None if it is taken."""
    if relative.suffix.lower() == NOTEBOOK_SUFFIX:
        return "notebook"  # as in the paper's training data
    if not is_wanted(relative):
        return "other_kind_of_file"
    if num_bytes == 0:
        return "empty"
    return "huge" if num_bytes > max_file_bytes else None


def _reason_of_link(path: Path, root: Path) -> str:
    """Say why a link is left out: what it points to inside the tree is found by its own name."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # Python below 3.13 raises RuntimeError for a loop
        return "link_broken_or_looping"
    return "link_within_tree" if target.is_relative_to(root) else "link_out_of_tree"


def read_bytes(path: Path, max_file_bytes: int) -> bytes:
    """Read a whole regular file; raises Refused with the reason where that cannot be.

    The file is opened so that neither a link nor a pipe put in its place since it was found can do harm.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refused("special_file")
            data = file.read(max_file_bytes + 1)
    except OSError as error:
        raise Refused("unreadable", error.strerror or "") from error
    if len(data) > max_file_bytes:
        raise Refused("huge")
    return data


def begins_with(path: Path, mark: bytes) -> bool:
    """Tell whether a regular file's first bytes are these; what cannot be read does not begin with them."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return stat.S_ISREG(os.fstat(descriptor).st_mode) and file.read(len(mark)) == mark
    except OSError:
        return False


def decode(data: bytes) -> str:
    """Decode UTF-8 text without its byte-order mark; raises Refused for anything else."""
    if b"\0" in data and not data.startswith(UTF16_MARKS):
        raise Refused("binary")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("not_utf8", f"byte {error.start}: {error.reason}") from error
    text = text.removeprefix(BYTE_ORDER_MARK)
    if not text.strip():
        raise Refused("empty")
    return text


def shown(path: Path) -> str:
    """Write a path as text whatever bytes its name holds."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
