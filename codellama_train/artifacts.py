"""Files that are either whole or absent: atomic writes, checksums, and the manifest that makes a folder complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
OWN_CHECKSUM = "checksum"  # the manifest's key for that of its own other contents


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


def flush(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk and would survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def vouch_for(path: Path) -> dict[str, Any]:
    """Give a finished file's size and SHA-256 for a manifest; the disk takes its bytes while they are hashed."""
    with ThreadPoolExecutor(1) as beside:
        flushing = beside.submit(flush, path)
        described = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        flushing.result()
    return described


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
    flush(path.parent)


def write_manifest(folder: Path, contents: dict[str, Any], *, files: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write the manifest, last of all files: its presence means that the folder is complete.

    The size and SHA-256 of every other file are added under `files`, unless the caller has them already, and a checksum
    of the manifest itself. Files and folders are flushed before: a power loss must not leave a manifest without what it
    vouches for. Returns what was written.
    """
    if files is None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
        files = {str(path.relative_to(folder)): vouch_for(path) for path in paths}
    manifest = {**contents, "files": files}
    manifest[OWN_CHECKSUM] = _checksum_of(manifest)
    write_json(folder / MANIFEST, manifest)
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        flush(path)
    return manifest


def _checksum_of(manifest: dict[str, Any]) -> str:
    return fingerprint({key: value for key, value in manifest.items() if key != OWN_CHECKSUM})


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read a folder's manifest; None where the folder is absent or was never finished."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest: dict[str, Any] = read_json(path)
        is_whole = OWN_CHECKSUM not in manifest or manifest[OWN_CHECKSUM] == _checksum_of(manifest)
    except (ValueError, TypeError) as error:
        raise CorruptArtifact(f"{path} is damaged: {error}") from error
    if not is_whole:
        raise CorruptArtifact(f"{path} is damaged: its own checksum is another")
    return manifest


def manifest_fingerprint(folder: Path) -> str:
    """Name a finished folder by its manifest's bytes, and so by every file's checksum."""
    return sha256_of(folder / MANIFEST)


def finished_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder that must be complete; raises CorruptArtifact where it is not."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise CorruptArtifact(f"{folder} has no {MANIFEST}: it was never finished")
    return manifest


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Check every file against the manifest and return it; raises CorruptArtifact naming every bad file."""
    manifest = finished_manifest(folder)
    damage = damage_in(folder, manifest["files"])
    if damage:
        raise CorruptArtifact("; ".join(damage))
    return manifest


def damage_in(folder: Path, files: dict[str, Any]) -> list[str]:
    """Describe every file that is not what its manifest's entry says, reading all of them."""
    damage = (
        damaged_size(folder / name, facts) or _damaged_bytes(folder / name, facts) for name, facts in files.items()
    )
    return [text for text in damage if text is not None]


def damaged_size(path: Path, facts: dict[str, Any]) -> str | None:
    """Say, without reading it, that a file is missing or not of the size that its manifest's entry says."""
    if not path.is_file():
        return f"{path} is missing"
    size = path.stat().st_size
    if size != facts["bytes"]:
        return f"{path} is not the file its manifest describes: it has {size:,} bytes, not {facts['bytes']:,}"
    return None


def _damaged_bytes(path: Path, facts: dict[str, Any]) -> str | None:
    try:
        is_same = sha256_of(path) == facts["sha256"]
    except OSError as error:  # a failing disk
        return f"{path} cannot be read: {error}"
    return None if is_same else f"{path} is not the file its manifest describes"
