"""Stage 2, tag: every signal that a rule may ask for, computed once per document and stored beside its origin.

Later stages decide from these columns alone, so that a changed threshold never reads a text again.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_prep.documents import SCHEMA, digest, write_table
from data_prep.parts import TAGS, documents_of, file_name, part_names
from data_prep.removals import SAMPLE_CHARACTERS
from data_prep.words import num_words
from data_prep.work import Facts, Work

TAG_SCHEMA = pa.schema(
    [field for field in SCHEMA if field.name != "text"]
    + [
        pa.field("beginning", pa.string()),  # a sample for people to read
        pa.field("num_bytes", pa.int64()),
        pa.field("num_characters", pa.int64()),
        pa.field("num_words", pa.int64()),
        pa.field("num_lines", pa.int64()),
        pa.field("longest_line", pa.int64()),  # characters
        pa.field("mean_line", pa.float64()),  # characters
        pa.field("alphanumeric_fraction", pa.float64()),  # of characters
        pa.field("generated_marks", pa.int64()),
        pa.field("content_hash", pa.binary(16)),  # of the text with every run of white space as one space
    ]
)

# What generators write near the top of their output: Go's convention, and the phrases Linguist looks for.
GENERATED_MARK = re.compile(
    r"@generated\b|do not edit\b|auto-?(?:matically[ -])?generated\b|generated (?:automatically|by|from|file|code)\b"
    r"|code generated\b",
    re.I,
)
CHARACTERS_SEARCHED_FOR_MARKS = 1_000


def run(work: Work) -> dict[str, Any]:
    """Write `tags-<part>.parquet` beside every part of the documents."""
    facts = work.produce(
        partial(_tag_part, run_dir=work.run_dir), part_names(work.run_dir), name=str, description="tag", unit="parts"
    )
    return {"documents": sum(each["documents"] for each in facts)}


def _tag_part(part: str, folder: Path, *, run_dir: Path) -> Facts:
    """Tag the documents of one part; runs in a worker."""
    table = documents_of(run_dir, part)
    tags = pa.Table.from_pylist(
        [tags_of_text(text) for text in table["text"].to_pylist()],
        schema=pa.schema(list(TAG_SCHEMA)[len(SCHEMA) - 1 :]),
    )
    for name in tags.column_names:
        table = table.append_column(TAG_SCHEMA.field(name), tags[name])
    write_table(folder / file_name(TAGS, part), table.drop_columns(["text"]))
    return {"documents": len(table)}


def tags_of_text(text: str) -> dict[str, Any]:
    """Compute every tag of one text."""
    lines = text.splitlines() or [""]
    return {
        "beginning": text[:SAMPLE_CHARACTERS],
        "num_bytes": len(text.encode()),
        "num_characters": len(text),
        "num_words": num_words(text),
        "num_lines": len(lines),
        "longest_line": max(map(len, lines)),
        "mean_line": sum(map(len, lines)) / len(lines),
        "alphanumeric_fraction": sum(map(str.isalnum, text)) / max(len(text), 1),
        "generated_marks": len(GENERATED_MARK.findall(text[:CHARACTERS_SEARCHED_FOR_MARKS])),
        "content_hash": digest(" ".join(text.split()).encode()),
    }
