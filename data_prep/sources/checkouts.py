"""When the files of git checkouts last changed: one walk through each repository's history, not one per file."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from data_prep.sources.found_files import File, History
from data_prep.sources.git_objects import GitFailure, commit_of, commit_times, git_folder_of, has_git
from data_prep.sources.values import possible_time

HISTORIES_AT_ONCE = 4  # each is a process of git

logger = logging.getLogger(__name__)


class Checkouts:
    """The git checkouts of one root, and the one that the root itself lies in; none where there is no root."""

    def __init__(self, root: Path | None) -> None:
        self._histories: dict[Path, History | None] = {}
        self._prefix = b""
        if root is not None:
            self._add_enclosing(root)

    def _add_enclosing(self, root: Path) -> None:
        for folder in (root, *root.parents):
            if git_folder_of(folder) is not None:
                self.add(folder, Path())
                below = bytes(root.relative_to(folder))
                self._prefix = b"" if below == b"." else below + b"/"
                return

    def add(self, folder: Path, relative: Path) -> None:
        """Note a checkout, by its folder and its path below the root."""
        git_folder = git_folder_of(folder)
        if git_folder is None or relative in self._histories:
            return
        try:
            self._histories[relative] = History(str(git_folder), commit_of(git_folder))
        except (GitFailure, OSError) as failure:
            logger.debug("%s gives no commit dates: %s", folder, failure)
            self._histories[relative] = None

    def tracked(self, relative: Path) -> tuple[History | None, bytes]:
        """Give the history of the innermost checkout that holds a file, and the file's path in it."""
        for parent in relative.parents:
            if parent in self._histories:
                prefix = self._prefix if parent == Path() else b""
                return self._histories[parent], prefix + bytes(relative.relative_to(parent))
        return None, b""


def with_commit_times(files: Sequence[File]) -> list[File]:
    """Give the files with the time of the last commit that changed each, where a history knows it."""
    by_history: dict[History, set[bytes]] = defaultdict(set)
    for file in files:
        if file.history is not None:
            by_history[file.history].add(file.tracked)
    if not by_history or not has_git():
        return list(files)
    with ThreadPoolExecutor(HISTORIES_AT_ONCE) as threads:
        times = dict(zip(by_history, threads.map(_times, by_history, by_history.values()), strict=True))
    return [_with_time(file, times) for file in files]


def _times(history: History, tracked: set[bytes]) -> dict[bytes, int]:
    try:
        return commit_times(Path(history.git_folder), history.commit, tracked)
    except (GitFailure, OSError) as failure:
        logger.info("%s gives no commit dates: %s", history.git_folder, failure)
        return {}


def _with_time(file: File, times: Mapping[History, Mapping[bytes, int]]) -> File:
    if file.history is None:
        return file
    return replace(file, revision_time=possible_time(times[file.history].get(file.tracked)))
