"""A licence's SPDX name from its text, for the licences that most code carries."""

from __future__ import annotations

import re
from pathlib import Path

LICENSE_FILES = ("LICENSE*", "LICENCE*", "COPYING*", "license*", "copying*")

# In this order: a text that quotes two licences is named after the stricter or more specific one.
PHRASES = (
    ("AGPL-3.0", "gnu affero general public license"),
    ("LGPL", "gnu lesser general public license"),
    ("GPL-3.0", "gnu general public license version 3"),
    ("GPL-2.0", "gnu general public license version 2"),
    ("MPL-2.0", "mozilla public license version 2.0"),
    ("MPL-2.0", "mozilla public license, v. 2.0"),
    ("PSF-2.0", "python software foundation license"),
    ("Apache-2.0", "apache license version 2.0"),
    ("Apache-2.0", "apache license, version 2.0"),
    ("BSD-3-Clause", "neither the name"),
    ("BSD-2-Clause", "redistributions in binary form must reproduce"),
    ("MIT", "permission is hereby granted, free of charge"),
    ("ISC", "permission to use, copy, modify, and/or distribute this software"),
    ("Unlicense", "this is free and unencumbered software"),
)
SHORT_NAMES = {
    "mit": "MIT",
    "mit license": "MIT",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "psf": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
}


def classify(text: str) -> str | None:
    """Name the licence that a text is or declares; None where no known phrase occurs."""
    flat = re.sub(r"\s+", " ", text.lower()).strip()
    if flat in SHORT_NAMES:
        return SHORT_NAMES[flat]
    return next(
        (name for name, phrase in PHRASES if phrase in flat.replace("license, version 3", "license version 3")), None
    )


def license_of_folder(folder: Path) -> str | None:
    """Name the licence of a repository by the licence file in its top folder; None where there is no clear one."""
    for pattern in LICENSE_FILES:
        for path in sorted(folder.glob(pattern)):
            if path.is_file() and (name := classify(_beginning(path))) is not None:
                return name
    return None


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(20_000).decode("utf-8", errors="replace")
