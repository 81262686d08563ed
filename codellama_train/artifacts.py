"""Files that are either whole or absent: atomic writes, checksums, and the manifest that makes a folder complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


class CorruptArtifact(RuntimeError):
    """A file that a manifest vouches for is missing or holds other bytes."""


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def fingerprint(value: object) -> str:
    """Hash any JSON value; equal values give equal fingerprints whatever their key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill that takes the place of `path` only when the block ends without an error.

    Whatever stood at `path` before is removed then; what a killed writer leaves, the next one removes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    publish(temporary, path)


def publish(temporary: Path, path: Path) -> None:
    """Move a finished folder into its place, removing what stood there."""
    if path.exists():
        outgoing = path.parent / f".{path.name}.outgoing"
        shutil.rmtree(outgoing, ignore_errors=True)
        path.rename(outgoing)
        temporary.rename(path)
        shutil.rmtree(outgoing)
    else:
        temporary.rename(path)


def write_manifest(folder: Path, contents: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest, last of all files: its presence means that the folder is complete.

    The size and SHA-256 of every other file are added under `files`. Returns what was written.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    files = {str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths}
    manifest = {**contents, "files": files}
    write_json(folder / MANIFEST, manifest)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read a folder's manifest; None where the folder is absent or was never finished."""
    path = folder / MANIFEST
    return read_json(path) if path.is_file() else None


def manifest_fingerprint(folder: Path) -> str:
    """Name a finished folder by its manifest's bytes, and so by every file's checksum."""
    return sha256_of(folder / MANIFEST)


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Check every file against the manifest and return it; raises CorruptArtifact naming the first bad file."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise CorruptArtifact(f"{folder} has no {MANIFEST}: it was never finished")
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise CorruptArtifact(f"{path} is missing")
        if path.stat().st_size != expected["bytes"] or sha256_of(path) != expected["sha256"]:
            raise CorruptArtifact(f"{path} is not the file its manifest describes")
    return manifest
