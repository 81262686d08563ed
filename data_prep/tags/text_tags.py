"""Everything the tag stage says about one document, from its text, its language and its path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from data_prep.documents import digest
from data_prep.removals import SAMPLE_CHARACTERS
from data_prep.tags.comments import comment_fraction
from data_prep.tags.encoded_data import encoded_statistics
from data_prep.tags.generated import generated_marks, is_minified, is_vendored
from data_prep.tags.licenses import license_in_file
from data_prep.tags.markup import has_xml_declaration, visible_statistics
from data_prep.tags.private_data import private_spans
from data_prep.tags.syntax import is_valid_syntax
from data_prep.tags.text_statistics import character_fractions, count_words, line_statistics, one_byte_per_character

PRIVATE_SPANS = "private_spans"
SPAN = pa.struct([("start", pa.int32()), ("end", pa.int32()), ("kind", pa.string())])

# Marks are 1 or 0; null is what is not known, or does not exist, of a document.
TEXT_TAGS = pa.schema(
    [
        pa.field("beginning", pa.string()),  # a sample for people to read
        pa.field("num_bytes", pa.int64()),
        pa.field("num_characters", pa.int64()),
        pa.field("num_words", pa.int64()),
        pa.field("num_lines", pa.int64()),
        pa.field("longest_line", pa.int64()),  # characters
        pa.field("mean_line", pa.float64()),  # characters
        pa.field("alphanumeric_fraction", pa.float64()),  # of characters, as the three below
        pa.field("alphabetic_fraction", pa.float64()),
        pa.field("digit_fraction", pa.float64()),
        pa.field("comment_fraction", pa.float64()),  # null: a language whose comments are not known
        pa.field("duplicate_line_fraction", pa.float64()),  # of lines that are not blank
        pa.field("encoded_fraction", pa.float64()),  # of characters
        pa.field("longest_encoded_run", pa.int64()),  # characters
        pa.field("visible_characters", pa.int64()),  # null: no web page
        pa.field("visible_fraction", pa.float64()),
        pa.field("generated_marks", pa.int64()),
        pa.field("is_vendored", pa.int8()),
        pa.field("is_minified", pa.int8()),
        pa.field("has_xml_declaration", pa.int8()),
        pa.field("is_valid_syntax", pa.int8()),  # null: no parser for the language
        pa.field("license_in_file", pa.string()),  # of an SPDX-License-Identifier line
        pa.field("num_emails", pa.int64()),
        pa.field("num_keys", pa.int64()),
        pa.field("num_ip_addresses", pa.int64()),
        pa.field(PRIVATE_SPANS, pa.list_(SPAN)),  # positions in characters
        pa.field("content_hash", pa.binary(16)),  # of the text with every run of white space as one space
    ]
)


def tags_of_text(text: str, *, language: str = "", path: str = "") -> dict[str, Any]:
    """Compute every tag of one document."""
    characters = one_byte_per_character(text)
    encoded = text.encode()
    lines = line_statistics(text)
    spans = private_spans(text, characters)
    return {
        "beginning": text[:SAMPLE_CHARACTERS],
        "num_bytes": len(encoded),
        "num_characters": len(text),
        "num_words": count_words(np.frombuffer(encoded, dtype=np.uint8)),
        **lines,
        **character_fractions(text, characters),
        "comment_fraction": comment_fraction(text, language),
        **encoded_statistics(text, characters),
        **visible_statistics(text, language),
        "generated_marks": generated_marks(text, path),
        "is_vendored": int(is_vendored(path)),
        "is_minified": int(is_minified(path, len(text), int(lines["num_lines"]))),
        "has_xml_declaration": int(has_xml_declaration(text)),
        "is_valid_syntax": _mark(is_valid_syntax(text, language)),
        "license_in_file": license_in_file(text),
        "num_emails": sum(span.kind == "email" for span in spans),
        "num_keys": sum(span.kind == "key" for span in spans),
        "num_ip_addresses": sum(span.kind == "ip_address" for span in spans),
        PRIVATE_SPANS: [span._asdict() for span in spans],
        "content_hash": digest(" ".join(text.split()).encode()),
    }


def _mark(verdict: bool | None) -> int | None:
    return None if verdict is None else int(verdict)
