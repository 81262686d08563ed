"""A licence's SPDX expression: from licence files, from a package's metadata, from a line in the file itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from data_prep.tags.license_texts import BUNDLED, CHOICE, NOTICES, RESTRICTIONS, SHORT_NAMES, TEXTS

LICENSE_FILE = re.compile(r"(?:un)?licen[sc]e|copying|(?:mit|apache|bsd)[-_.]?licen[sc]e", re.I)
NOT_OF_THE_PROJECT = re.compile(r"third|3rd|bundled|vendor|depend|notice|header|template|exception", re.I)
CODE_ENDINGS = (".py", ".go", ".rs", ".js", ".ts", ".java", ".c", ".h", ".html", ".json", ".png", ".sh", ".rb")
LICENSE_BYTES = 64_000
MOST_FILES = 10
IDENTIFIER = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n]*)")
CHARACTERS_OF_HEADER = 5_000
CHARACTERS_OF_CHOICE = 1_000  # later it speaks of something bundled
LONGEST_NAME = 200
FILLER_WORDS = re.compile(r"\b(?:the|license|licence|licensed|software|under|osi|approved)\b")


def license_of_text(text: str) -> str | None:
    """Name the licence that a text is, or gives notice of, as an SPDX expression; None where it is none known.

    Several licences in one text are joined by OR where it offers a choice, and by AND where it does not.
    """
    flat = _project_part(_flat(text))
    if any(phrase in flat for phrase in RESTRICTIONS):
        return None
    found = _matching(flat, TEXTS) or _matching(flat, NOTICES)
    is_choice = len(found) == 2 and any(phrase in flat[:CHARACTERS_OF_CHOICE] for phrase in CHOICE)
    return _joined(found, "OR" if is_choice else "AND")


@cache
def license_of_name(name: str) -> str | None:
    """Turn what a package's metadata calls its licence into an SPDX expression; None where that says nothing known."""
    if len(name) > LONGEST_NAME or "\n" in name.strip():
        return license_of_text(name)
    try:
        return str(canonicalize_license_expression(name))
    except InvalidLicenseExpression:
        pass
    choices = [_short_name(part) for part in re.split(r"\s+or\s+|\s*/\s*", name, flags=re.I)]
    if len(choices) > 1 and all(choices) and _short_name(name) is None:
        return _joined(filter(None, choices), "OR")
    return _short_name(name) or license_of_text(name)


def license_in_file(text: str) -> str | None:
    """Give the expression on a file's own SPDX-License-Identifier line; None without a valid one."""
    beginning = text[:CHARACTERS_OF_HEADER]
    if "SPDX-License-Identifier" not in beginning or (line := IDENTIFIER.search(beginning)) is None:
        return None
    name = re.split(r"\*/|-->|#}|\"|'|--%>|,", line[1])[0].strip(" \t\r*;")
    try:
        return str(canonicalize_license_expression(name))
    except InvalidLicenseExpression:
        return None


def license_of_folder(folder: Path) -> str | None:
    """Name the licence of a repository by the licence files in its top folder; None where there is no clear one."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    paths = [path for path in entries if is_license_file(path.name) and path.is_file() and not path.is_symlink()]
    return license_of_files({path.name: _beginning(path) for path in paths[:MOST_FILES]})


def is_license_file(name: str) -> bool:
    """Tell whether a file at a repository's top says by its name that it holds the licence of the project itself."""
    is_named = LICENSE_FILE.match(name) is not None and NOT_OF_THE_PROJECT.search(name) is None
    return is_named and not name.lower().endswith(CODE_ENDINGS)


def license_of_files(texts: Mapping[str, str]) -> str | None:
    """Name the licence that the texts of licence files, by their names, declare together."""
    found = {file: name for file, text in texts.items() if (name := license_of_text(text)) is not None}
    # LICENSE-MIT beside LICENSE-APACHE is how projects offer a choice.
    is_choice = all(re.search(r"[-_.](?!(?:md|txt|rst)$)\w+", file) for file in found)
    return _joined(found.values(), "OR" if is_choice else "AND")


def _project_part(flat: str) -> str:
    """Cut off what a licence file says of software that comes with the project, if it names a licence before that."""
    for phrase in BUNDLED:
        own, found, _ = flat.partition(phrase)
        if found and _matching(own, TEXTS):
            flat = own
    return flat


def _joined(names: Iterable[str], operator: str) -> str | None:
    """Join licences into one expression, each once; the Lesser GPL includes the GPL that its text comes with."""
    distinct = list(dict.fromkeys(names))
    if any(name.startswith("LGPL") for name in distinct):
        distinct = [name for name in distinct if not name.startswith("GPL")]
    if len(distinct) < 2:
        return distinct[0] if distinct else None
    return f" {operator} ".join(f"({name})" if " " in name else name for name in distinct)


def _matching(flat: str, rules: Iterable[tuple[str, tuple[str, ...]]]) -> list[str]:
    return [
        name
        for name, phrases in rules
        if all((phrase.removeprefix("not: ") in flat) != phrase.startswith("not: ") for phrase in phrases)
    ]


def _short_name(name: str) -> str | None:
    words = FILLER_WORDS.sub(" ", re.sub(r"[^a-z0-9.+]+", " ", name.lower()))
    return SHORT_NAMES.get(" ".join(words.split()))


def _flat(text: str) -> str:
    """Reduce a text to its words, so that neither layout nor comment signs nor quotes hide a phrase."""
    return " ".join(re.sub(r"[^a-z0-9.]+|\.(?!\d)", " ", text.lower()).split())


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(LICENSE_BYTES).decode("utf-8", errors="replace")
