"""What a git repository holds, read from its objects alone.

A repository is not trusted: its configuration can name programs that git would run (signature checks, filters, remote
helpers) and files that git would read. So git never sees it. It is given an empty repository of ours whose objects are
looked for in the other's object folder, and the few references that are needed are read here, as text.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
HASH_CHARACTERS = {"sha1": 40, "sha256": 64}
# What the history has for each commit; paths begin with a slash in hostile trees only, and those tell lies anyway.
COMMIT_LINE = re.compile(rb"/(\d{1,20})(?:\n|\Z)")
LONGEST_REFERENCE = 4_096  # bytes of a file that holds one
LONGEST_PACKED_REFERENCES = 100_000_000
MAX_SYMBOLIC_REFERENCES = 5  # git's own bound

logger = logging.getLogger(__name__)


class GitFailure(Exception):
    """A repository that cannot be read, with the reason."""


@dataclass(frozen=True)
class TreeEntry:
    """One entry of a commit's tree; `mode` tells files from links and submodules."""

    mode: bytes
    blob: str
    num_bytes: int | None  # None where the object is not there: in a partial clone, for a submodule
    path: bytes


@cache
def has_git() -> bool:
    """Tell whether git can be run; says so once where it cannot."""
    found = shutil.which("git") is not None
    if not found:
        logger.warning("git is not installed: files have no commit dates, and bare repositories are left out")
    return found


def is_bare(names: Collection[str]) -> bool:
    """Tell by its entries whether a folder is a git repository's own."""
    return {"HEAD", "objects", "refs"} <= set(names)


def git_folder_of(checkout: Path) -> Path | None:
    """Give the repository folder of a checkout, a linked work tree's or submodule's too; None where there is none."""
    marker = checkout / ".git"
    if marker.is_dir():
        return marker
    if not marker.is_file():
        return None
    target = _first_line(marker).removeprefix("gitdir:").strip()
    folder = (checkout / target).resolve() if target else None
    return folder if folder is not None and folder.is_dir() else None


def commit_of(git_folder: Path, revision: str | None = None) -> str:
    """Give the hash of the commit a revision names: HEAD, a branch, a tag or a full hash."""
    if revision is None:
        return _resolve(git_folder, "HEAD")
    if HASH.fullmatch(revision):
        return revision
    for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", f"refs/remotes/origin/{revision}", revision):
        if name.startswith("refs/") and (found := _reference(git_folder, name)) is not None:
            return _resolve(git_folder, found)
    raise GitFailure(f"there is no branch, tag or commit {revision}")


def _resolve(git_folder: Path, value: str) -> str:
    for _ in range(MAX_SYMBOLIC_REFERENCES):
        if HASH.fullmatch(value):
            return value
        name = value.removeprefix("ref:").strip()
        if (found := _reference(git_folder, name)) is None:
            raise GitFailure(f"{name} names no commit" + (": it is empty" if name.startswith("refs/heads/") else ""))
        value = found
    raise GitFailure("its references go in a circle")


def _reference(git_folder: Path, name: str) -> str | None:
    """Read one reference, loose or packed; a name that leaves the folder is none."""
    if name.startswith("/") or ".." in Path(name).parts:
        return None
    for folder in (git_folder, _common_folder(git_folder)):
        if (folder / name).is_file():
            return _first_line(folder / name)
    packed = _common_folder(git_folder) / "packed-refs"
    if not packed.is_file() or packed.stat().st_size > LONGEST_PACKED_REFERENCES:
        return None
    for line in packed.read_text("utf-8", errors="replace").splitlines():
        commit, _, packed_name = line.partition(" ")
        if packed_name == name:
            return commit
    return None


def _common_folder(git_folder: Path) -> Path:
    """Give the folder that holds the objects: another one for a linked work tree."""
    pointer = git_folder / "commondir"
    return (git_folder / _first_line(pointer)).resolve() if pointer.is_file() else git_folder


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        lines = file.read(LONGEST_REFERENCE).decode("utf-8", errors="replace").splitlines()
    return lines[0].strip() if lines else ""


def files_at(git_folder: Path, commit: str) -> Iterator[TreeEntry]:
    """Give every entry of a commit's tree that is not a folder, in git's order."""
    with _running(git_folder, commit, ["ls-tree", "-r", "-l", "-z", "--full-tree", commit]) as process:
        assert process.stdout is not None
        for record in _split(process, b"\0"):
            facts, _, path = record.partition(b"\t")
            mode, _, blob, size = facts.split()
            yield TreeEntry(mode, blob.decode(), int(size) if size.isdigit() else None, path)


def commit_times(git_folder: Path, commit: str, paths: Collection[bytes]) -> dict[bytes, int]:
    """Give for each tracked path when a commit last changed it, by one walk back through the history.

    The walk ends where the last of the paths was added. A shallow clone ends at its oldest commit.
    """
    missing, times = set(paths), {}
    time = 0
    arguments = ["log", "--format=format:/%ct", "--name-only", "--no-renames", "-z", commit, "--"]
    with suppress(_Enough), _running(git_folder, commit, arguments) as process:
        for record in _split(process, b"\0"):
            if (commit_line := COMMIT_LINE.match(record)) is not None:
                time, record = int(commit_line[1]), record[commit_line.end() :]
            if record in missing:
                times[record] = time
                missing.remove(record)
                if not missing:
                    raise _Enough
    return times


class _Enough(Exception):
    """Ends a program whose further output is not needed."""


def contents_of(git_folder: Path, commit: str, blobs: Sequence[str]) -> Iterator[bytes]:
    """Give the content of each blob, in the order asked for, by one process."""
    with _running(git_folder, commit, ["cat-file", "--batch"]) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for blob in blobs:
            process.stdin.write(blob.encode() + b"\n")
            process.stdin.flush()
            header = process.stdout.readline().split()
            if len(header) != 3 or header[1] != b"blob":
                raise GitFailure(f"object {blob} cannot be read")
            content = process.stdout.read(int(header[2]))
            process.stdout.read(1)  # the line's end after it
            yield content
        process.stdin.close()


@contextmanager
def _running(git_folder: Path, commit: str, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run git in an empty repository of ours over the objects of another."""
    objects = _common_folder(git_folder) / "objects"
    with tempfile.TemporaryDirectory() as scratch:
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_DIR": scratch,
            "GIT_OBJECT_DIRECTORY": str(objects),
            "GIT_SHALLOW_FILE": str(_common_folder(git_folder) / "shallow"),
            "GIT_ALLOW_PROTOCOL": "none",  # objects that are missing are never fetched
        }
        _write_empty_repository(Path(scratch), commit)
        with (
            tempfile.TemporaryFile() as complaints,
            subprocess.Popen(
                ["git", "--no-pager", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=environment,
                cwd=scratch,
            ) as process,
        ):
            try:
                yield process
            except BaseException:
                process.kill()
                raise
            if process.wait():
                complaints.seek(0)
                said = complaints.read(1_000).decode("utf-8", errors="replace").strip().splitlines()
                raise GitFailure(said[-1] if said else f"git {arguments[0]} failed")


def _write_empty_repository(folder: Path, commit: str) -> None:
    kind = "sha256" if len(commit) == HASH_CHARACTERS["sha256"] else "sha1"
    version = f"[core]\nrepositoryformatversion = 1\nbare = true\n[extensions]\nobjectFormat = {kind}\n"
    (folder / "config").write_text(version, "utf-8")
    (folder / "HEAD").write_text("ref: refs/heads/none\n", "utf-8")
    (folder / "refs").mkdir()


def _split(process: subprocess.Popen[bytes], separator: bytes) -> Iterator[bytes]:
    """Give the parts of a process's output between separators, empty ones left out."""
    assert process.stdout is not None
    rest = b""
    while chunk := process.stdout.read(1 << 16):
        *parts, rest = (rest + chunk).split(separator)
        yield from filter(None, parts)
    if rest:
        yield rest
