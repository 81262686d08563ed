"""Files of rows, as `parquet` and `jsonl` sources name them, less those whose names say that they are not code."""

from __future__ import annotations

from pathlib import PurePosixPath

from data_prep.removals import Removals
from data_prep.sources.input_files import InputFile, input_files

# Folders of The Stack and StarCoderData that Code Llama's code is not made of.
NOT_CODE = {"jupyter-": "notebook", "github-issues": "issues", "git-commits": "commits"}


def data_files(name: str, paths: list[str], endings: tuple[str, ...], removals: Removals) -> list[InputFile]:
    """Find a source's files of rows."""
    found = input_files(
        f"sources.{name}", paths, lambda file: file.lower().endswith(endings), f"file ({', '.join(endings)})", removals
    )
    taken = []
    for file in found:
        path = PurePosixPath(file.path)
        reason = reason_against_folder(f"{path.parent.name}/{file.label}")
        if reason is None:
            taken.append(file)
        else:
            removals.add(name, reason, path=file.path, num_bytes=file.num_bytes)
    return taken


def reason_against_folder(path: str) -> str | None:
    """Say why rows below a folder are left out, by the names of published data sets' folders."""
    for part in path.split("/"):
        for beginning, reason in NOT_CODE.items():
            if part.startswith(beginning):
                return reason
    return None
