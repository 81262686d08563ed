"""Files that a walk has found and nobody has read yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.sources.roots import Repository


@dataclass(frozen=True)
class History:
    """A commit of a git repository: what was tracked, and when it last changed."""

    git_folder: str
    commit: str


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: `place` is its path on disk, or in a bare repository the hash of its object.

    `tracked` is its path in the commit of `history`; both are empty outside of git.
    """

    place: str
    relative: Path
    num_bytes: int
    repository: Repository
    history: History | None = None
    tracked: bytes = b""
    is_object: bool = False
    revision_time: int | None = None

    @property
    def repository_name(self) -> str:
        """The name that the size cap per repository counts it under."""
        return self.repository.name
