"""Find and read text files in folders that nobody vouches for: every entry is taken or left out for a named reason."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def find_files(
    root: Path, *, exclude_folders: Sequence[str], max_file_bytes: int, is_wanted: Callable[[Path], bool]
) -> Iterator[FoundFile | LeftOut]:
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
        subfolders: list[Path] = []
        for entry in ordered:
            relative = Path(entry.path).relative_to(root)
            if _is_folder(entry):
                if any(
                    fnmatch.fnmatch(str(relative) if "/" in pattern else entry.name, pattern)
                    for pattern in exclude_folders
                ):
                    yield LeftOut(relative, "excluded_folder")
                else:
                    subfolders.append(Path(entry.path))
            else:
                yield _judge(entry, relative, root, max_file_bytes, is_wanted)
        waiting.extend(reversed(subfolders))


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
    if not is_wanted(relative):
        return LeftOut(relative, "other_kind_of_file", status.st_size)
    if status.st_size == 0:
        return LeftOut(relative, "empty")
    if status.st_size > max_file_bytes:
        return LeftOut(relative, "huge", status.st_size)
    return FoundFile(Path(entry.path), relative, status.st_size)


def _reason_of_link(path: Path, root: Path) -> str:
    """Say why a link is left out: what it points to inside the tree is found by its own name."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # Python below 3.13 raises RuntimeError for a loop
        return "link_broken_or_looping"
    return "link_within_tree" if target.is_relative_to(root) else "link_out_of_tree"


def read_text(path: Path, max_file_bytes: int) -> str:
    """Read a UTF-8 file without its byte-order mark; raises Refused with the reason.

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
    return decode(data)


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
