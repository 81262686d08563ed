"""A file's language: from its name by GitHub Linguist's table, from its text where the name leaves it open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from codellama_train.recipe.data_sources import LanguageKind
from data_prep.tags.language_content import AMBIGUOUS_EXTENSIONS, language_by_content
from data_prep.tags.language_table import DATA, MARKUP, PROGRAMMING

ENGLISH, DIALOGUE = "english", "dialogue"
TABLES: dict[LanguageKind, str] = {"programming": PROGRAMMING, "markup": MARKUP, "data": DATA}
# The program that a script names for itself, through env or not, without its version.
SHEBANG = re.compile(r"#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+|\w+=\S*\s+)*)?(?:\S*/)?([A-Za-z_+]+)")


def language_of_name(name: str) -> str | None:
    """Tell a file's language from its name; None for what is neither code, markup nor data, and for stubs of Python."""
    by_name, by_extension, _ = _tables()
    if name in by_name:
        return by_name[name]
    extension = name.lower().partition(".")[2] if not name.startswith(".") else name[1:].lower().partition(".")[2]
    while extension:
        if extension in by_extension:
            return by_extension[extension]
        extension = extension.partition(".")[2]
    return None


def language_of(name: str, text: str) -> str | None:
    """Tell a file's language from its name, and from its text where the name is ambiguous or has no extension."""
    language = language_of_name(name)
    extension = name.lower().rpartition(".")[2]
    if "." in name and (decided := language_by_content(extension, text)) is not None:
        return decided
    return language or (_language_of_shebang(text) if has_no_extension(name) else None)


def has_no_extension(name: str) -> bool:
    """Tell whether only a file's first line can say what it is."""
    return "." not in name


def is_told_by_content(name: str) -> bool:
    """Tell whether a file without a language by its name may turn out to have one when it is read."""
    return has_no_extension(name) or name.lower().rpartition(".")[2] in AMBIGUOUS_EXTENSIONS


def kind_of_language(language: str) -> LanguageKind | None:
    """Say whether a language is for programs, for marking up text or for data; None for an unknown one."""
    return KINDS.get(language)


def _language_of_shebang(text: str) -> str | None:
    found = SHEBANG.match(text[:200])
    return _tables()[2].get(found[1]) if found else None


@cache
def _tables() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Give the languages by file name, by extension and by interpreter."""
    by_name: dict[str, str] = {}
    by_extension: dict[str, str] = {}
    by_interpreter: dict[str, str] = {}
    for _, language, fields in _entries():
        for field, table in zip(fields, (by_extension, by_name, by_interpreter), strict=False):
            table.update(dict.fromkeys(field.split(), language))
    return by_name, by_extension, by_interpreter


def _entries() -> Iterator[tuple[LanguageKind, str, list[str]]]:
    """Read the table: kind, language, and what it owns."""
    for kind, table in TABLES.items():
        for entry in re.split(r" \| |\n(?! )", table.strip()):
            language, _, owned = entry.partition(":")
            yield kind, language.strip(), owned.split(";")


KINDS: dict[str, LanguageKind] = {language: kind for kind, language, _ in _entries()}
# Linguist's languages of prose, which are no code: tables with a column of languages name them.
PROSE = (
    *("asciidoc", "gettext catalog", "jupyter notebook", "markdown", "org", "pod", "rdoc", "restructuredtext"),
    *("rmarkdown", "texinfo", "text", "textile", "wikitext"),
)
KNOWN_LANGUAGES = frozenset([*KINDS, *PROSE, ENGLISH, DIALOGUE])
