"""What BigCode asks of markup: whether a file is XML whatever its name says, and how much of a page a reader sees."""

from __future__ import annotations

import html
import re

XML_DECLARATION = "<?xml version="
CHARACTERS_OF_DECLARATION = 100  # BigCode
HTML = "html"

# Scripts, styles and comments with all they hold, and tags; what is left is read.
INVISIBLE = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style)\b[^>]*>.*?(?:</\1\s*>|\Z)|</?[A-Za-z!?][^<>]*>", re.DOTALL | re.IGNORECASE
)


def has_xml_declaration(text: str) -> bool:
    """Tell whether a text begins as XML files do."""
    return XML_DECLARATION in text[:CHARACTERS_OF_DECLARATION]


def visible_statistics(text: str, language: str) -> dict[str, float | None]:
    """Give the characters of a page that a reader sees and their share; None for what is no page."""
    if language != HTML:
        return {"visible_characters": None, "visible_fraction": None}
    visible = len(html.unescape(INVISIBLE.sub("", text)))
    return {"visible_characters": visible, "visible_fraction": visible / max(len(text), 1)}
