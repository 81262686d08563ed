"""Stack Exchange's Posts.xml as a stream of rows, and the HTML of a post as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import BinaryIO
from xml.parsers import expat

CHUNK_BYTES = 1 << 20
LONGEST_ROW = 64_000_000  # bytes of XML between two rows; a post has at most 30,000 characters of text
BLOCKS = {"p", "pre", "ul", "ol", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "table", "div", "dl"}
LINES = {"br", "li", "tr", "dt", "dd"}
UNSEEN = {"script", "style"}


class BrokenPosts(Exception):
    """A file that is not, or no longer, Posts.xml."""


def rows_of(file: BinaryIO) -> Iterator[dict[str, str]]:
    """Give the attributes of each row. A document type, where entity bombs are declared, is refused unread."""
    rows: list[dict[str, str]] = []
    parser = expat.ParserCreate()

    def add_row(tag: str, attributes: dict[str, str]) -> None:
        if tag == "row":
            rows.append(attributes)

    def refuse(*_: object) -> None:
        raise BrokenPosts("it declares a document type, which no dump does")

    parser.StartElementHandler = add_row
    parser.StartDoctypeDeclHandler = refuse
    without_row = 0
    try:
        while chunk := file.read(CHUNK_BYTES):
            parser.Parse(chunk, False)
            without_row = 0 if rows else without_row + len(chunk)
            if without_row > LONGEST_ROW:
                raise BrokenPosts(f"no row ends within {LONGEST_ROW:,} bytes")
            yield from rows
            rows.clear()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        yield from rows
        raise BrokenPosts(str(error)) from error


def text_of_html(html: str) -> str:
    """Remove a post's tags: paragraphs stay apart by a blank line, and code blocks are kept as they are."""
    parser = _TextParser()
    parser.feed(html)
    parser.close()
    return parser.text()


class _TextParser(HTMLParser):
    """Collects blocks of text; white space counts inside <pre> only."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._blocks: list[str] = []
        self._words: list[str] = []
        self._depth_of_code = 0
        self._depth_unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in BLOCKS:
            self._end_block()
        elif tag in LINES and not self._depth_of_code:
            self._words.append("\n")
        self._depth_of_code += tag == "pre"
        self._depth_unseen += tag in UNSEEN

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self._end_block()
        self._depth_of_code = max(self._depth_of_code - (tag == "pre"), 0)
        self._depth_unseen = max(self._depth_unseen - (tag in UNSEEN), 0)

    def handle_data(self, data: str) -> None:
        if not self._depth_unseen:
            self._words.append(data if self._depth_of_code else re.sub(r"\s+", " ", data))

    def parse_marked_section(self, i: int, report: int = 1) -> int:  # noqa: ARG002
        """Pass over what looks like SGML instead of failing at it."""
        return self.parse_bogus_comment(i)

    def _end_block(self) -> None:
        block = "".join(self._words)
        self._words = []
        if not self._depth_of_code:
            block = "\n".join(line.strip() for line in re.sub(r" +", " ", block).split("\n")).strip()
        if block.strip():
            self._blocks.append(block.strip("\n"))

    def text(self) -> str:
        """Give what was collected."""
        self._end_block()
        return "\n\n".join(self._blocks)
