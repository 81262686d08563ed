"""Natural language about code: documents, package descriptions, and the long docstrings of Python files."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

from data_prep.shards.python_code import all_definitions, is_encodable, parse_python

PLAIN_TEXT_NAMES = ("readme", "changes", "changelog", "news", "history", "faq", "contributing", "tutorial")
DOCUMENT_FOLDERS = ("doc", "docs", "documentation")


def is_documentation(relative: Path) -> bool:
    """Tell whether a file may hold natural language about code.

    Plain .txt counts only where its name or folder says so: most are lists, build files or data.
    """
    name, suffix = relative.name.lower(), relative.suffix.lower()
    if suffix in (".md", ".rst"):
        return not name.startswith(("license", "copying", "notice"))
    if suffix == ".txt":
        return name.startswith(PLAIN_TEXT_NAMES) or any(part.lower() in DOCUMENT_FOLDERS for part in relative.parts)
    return suffix == ".py" or (name == "metadata" and relative.parent.suffix == ".dist-info")


def texts_of(relative: Path, text: str, *, min_docstring_characters: int) -> Iterator[tuple[str, str]]:
    """Give the natural-language parts of a file, each with a name that is unique in it.

    Raises SyntaxError for a Python file that does not parse.
    """
    if relative.suffix.lower() == ".py":
        yield from _docstrings(text, min_docstring_characters)
    elif relative.name.lower() == "metadata":
        description = str(HeaderParser().parsestr(text).get_payload())
        if description.strip():
            yield "description", description
    else:
        yield "", text


def _docstrings(text: str, min_characters: int) -> Iterator[tuple[str, str]]:
    tree = parse_python(text)
    for node in (tree, *all_definitions(tree.body)):
        docstring = ast.get_docstring(node, clean=False)
        if (
            docstring is not None
            and len(cleaned := inspect.cleandoc(docstring)) >= min_characters
            and is_encodable(cleaned)
        ):
            yield f"docstring:{getattr(node, 'lineno', 0)}", cleaned + "\n"
