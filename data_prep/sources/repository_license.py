"""The licence of a repository whose files are not in a folder, from the licence files at its top."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from data_prep.tags.licenses import LICENSE_BYTES, MOST_FILES, is_license_file, license_of_files


def license_of_names(names: Iterable[str], read: Callable[[str], bytes]) -> str | None:
    """Name the licence that the licence files among the names declare; None where there is no clear one."""
    files = sorted(filter(is_license_file, names))[:MOST_FILES]
    return license_of_files({name: read(name)[:LICENSE_BYTES].decode("utf-8", errors="replace") for name in files})
