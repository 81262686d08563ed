"""Members of zip and tar archives that nobody vouches for, read one after another as streams, within bounds.

Nothing is unpacked to disk, no member is trusted about its size, and an archive that unpacks to very much more than its
own size is given up where that shows.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

import pyarrow as pa

from data_prep.sources.values import as_time

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
ZIP_ENDINGS = (".zip", ".whl", ".jar")
OTHER_ENDINGS = (".7z", ".rar", ".gz", ".bz2", ".xz", ".zst", ".deb", ".rpm")  # known as archives, never opened

MAX_RATIO = 100  # unpacked to packed size: the default of Apache POI (ZipSecureFile) and Tika (SecureContentHandler)
FREE_BYTES = 1_000_000  # unpacked before the ratio counts: Tika's default
LARGEST_HEADER = 1_000_000  # bytes that one extended tar header may hold
ZIP_BEGINNINGS = (b"PK\3\4", b"PK\5\6")  # the second of an empty one
ENCRYPTED = 0x1  # flag bit of a zip entry
FIRST_ZIP_YEAR = 1980  # what zip files say that have no time


class BrokenArchive(Exception):
    """An archive that cannot be read further; `reason` names why for the account of what was left out."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Reader(Protocol):
    """Reads at most so many bytes of the member at hand."""

    def __call__(self, limit: int, /) -> bytes:
        """Give the member's content; raises BrokenArchive where it is damaged."""


@dataclass(frozen=True)
class Member:
    """One entry that is not a folder; `refusal` says why it may not be read at all."""

    path: str
    num_bytes: int
    modified: int | None
    refusal: str | None
    read: Reader


def is_archive(name: str) -> bool:
    """Tell by its name whether a file is an archive that can be read."""
    return name.lower().endswith(TAR_ENDINGS + ZIP_ENDINGS)


def without_ending(name: str) -> str:
    """Give an archive's name without what says that it is one."""
    endings = [ending for ending in TAR_ENDINGS + ZIP_ENDINGS if name.lower().endswith(ending)]
    return name[: -len(max(endings, key=len))] if endings else name


def is_any_archive(name: str) -> bool:
    """Tell by its name whether a file is an archive at all."""
    return name.lower().endswith(TAR_ENDINGS + ZIP_ENDINGS + OTHER_ENDINGS)


def members_of(archive: Path, *, longest_read: int) -> Iterator[Member]:
    """Give an archive's members in stored order; each can be read until the next is asked for.

    What an archive is, its first bytes say. `longest_read` bounds what is read of one member.
    """
    with _named_damage("unreadable"):
        with archive.open("rb") as file:
            is_zip = file.read(len(ZIP_BEGINNINGS[0])) in ZIP_BEGINNINGS
        yield from _zip_members(archive) if is_zip else _tar_members(archive, longest_read)


@contextmanager
def _named_damage(reason: str) -> Iterator[None]:
    """Turn what the standard library raises over damaged archives into one exception."""
    try:
        yield
    except NotImplementedError as error:
        raise BrokenArchive("unknown_compression", str(error)) from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise BrokenArchive("broken_archive", str(error)) from error
    except (ValueError, OverflowError, RecursionError, RuntimeError) as error:
        raise BrokenArchive("broken_archive", str(error)) from error
    except OSError as error:
        raise BrokenArchive(reason, str(error)) from error


def _zip_members(path: Path) -> Iterator[Member]:
    total, packed = 0, path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            total += entry.file_size
            refusal = _refusal_of_path(entry.filename) or _refusal_of_zip_entry(entry)
            if refusal is None and (is_bomb(entry.file_size, entry.compress_size) or is_bomb(total, packed)):
                refusal = "zip_bomb"

            def read(limit: int, entry: zipfile.ZipInfo = entry) -> bytes:
                return _read_zip_entry(archive, entry, limit)

            yield Member(_clean(entry.filename), entry.file_size, _zip_time(entry), refusal, read)


def is_bomb(unpacked: int, packed: int) -> bool:
    """Tell whether data unpacks to so much more than its size that it was made to."""
    return unpacked > FREE_BYTES + MAX_RATIO * packed


def _refusal_of_zip_entry(entry: zipfile.ZipInfo) -> str | None:
    if entry.flag_bits & ENCRYPTED:
        return "encrypted"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "link_in_archive"
    return "special_file" if kind not in (0, stat.S_IFREG) else None


def _read_zip_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    with _named_damage("broken_archive"), archive.open(entry) as file:
        return file.read(limit)


def _zip_time(entry: zipfile.ZipInfo) -> int | None:
    try:
        return as_time(datetime(*entry.date_time, tzinfo=UTC)) if entry.date_time[0] > FIRST_ZIP_YEAR else None
    except ValueError:
        return None


def _tar_members(path: Path, longest_read: int) -> Iterator[Member]:
    with _unpacked(path) as unpacked:
        stream = Forward(unpacked, path.stat().st_size, max(longest_read, LARGEST_HEADER))
        with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:") as tar:
            while (entry := tar.next()) is not None:
                vars(tar)["members"].clear()  # it would remember every member
                if not entry.isdir():
                    yield _tar_member(tar, entry)
        if any(stream.last):  # tarfile takes a damaged header for the end, where there are zeros or nothing
            raise BrokenArchive("broken_archive", "a damaged header in its middle")


def _tar_member(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    def read(limit: int) -> bytes:
        with _named_damage("broken_archive"):
            file = tar.extractfile(entry)
            assert file is not None, entry.name
            return file.read(min(limit, entry.size))

    refusal = _refusal_of_path(entry.name) or _refusal_of_tar_entry(entry)
    return Member(_clean(entry.name), entry.size, as_time(entry.mtime), refusal, read)


def _refusal_of_tar_entry(entry: tarfile.TarInfo) -> str | None:
    if entry.issym() or entry.islnk():
        return "link_in_archive"
    return None if entry.isreg() and not entry.issparse() else "special_file"


def _refusal_of_path(path: str) -> str | None:
    """Refuse names that lead out of the folder an archive would be unpacked in; nothing is unpacked, but they lie."""
    slashed = path.replace("\\", "/")
    if slashed.startswith("/") or ".." in slashed.split("/") or slashed[1:2] == ":":
        return "path_out_of_archive"
    return None


def _clean(path: str) -> str:
    return str(PurePosixPath(path))


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a file, through its decompression if its first bytes name one."""
    with path.open("rb") as file:
        beginning = file.read(6)
        file.seek(0)
        if beginning.startswith(b"\x1f\x8b"):
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file))
        elif beginning.startswith(b"BZh"):
            yield cast(BinaryIO, bz2.BZ2File(file))
        elif beginning.startswith(b"\xfd7zXZ\x00"):
            yield cast(BinaryIO, lzma.LZMAFile(file))  # noqa: SIM115
        elif beginning.startswith(b"\x28\xb5\x2f\xfd"):
            with pa.CompressedInputStream(file, "zstd") as stream:
                yield cast(BinaryIO, stream)
        else:
            yield file


class Forward:
    """A stream for tarfile that only goes forward and ends where the archive unpacks to too much."""

    def __init__(self, stream: BinaryIO, packed: int, longest_read: int) -> None:
        self._stream, self._packed, self._longest_read = stream, packed, longest_read
        self._position = 0
        self.last = b""  # what was read last

    def tell(self) -> int:
        """Give the position in the unpacked data."""
        return self._position

    def seek(self, position: int) -> int:
        """Go forward to a position by reading up to it."""
        if position < self._position:
            raise BrokenArchive("broken_archive", "a member that ends before it begins")
        while (left := position - self._position) > 0 and self._next(min(left, self._longest_read)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """Read so many bytes, fewer only at the end."""
        if size > self._longest_read:
            raise BrokenArchive("broken_archive", f"a header of {size:,} bytes")
        parts = []
        while size > 0 and (part := self._next(size)):
            parts.append(part)
            size -= len(part)
        self.last = b"".join(parts)
        return self.last

    def _next(self, size: int) -> bytes:
        part = self._stream.read(size)
        self._position += len(part)
        if is_bomb(self._position, self._packed):
            raise BrokenArchive("zip_bomb", f"unpacks to more than {MAX_RATIO} times its size")
        return part
