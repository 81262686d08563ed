"""Stage 2, tag: every signal that a rule may ask for, computed once per document and stored beside its origin.

Later stages decide from these columns alone, so that a changed threshold never reads a text again.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_prep.documents import SCHEMA, write_table
from data_prep.parts import TAGS, documents_of, file_name, part_names
from data_prep.tags.private_data import KINDS
from data_prep.tags.text_tags import PRIVATE_SPANS, TEXT_TAGS, tags_of_text
from data_prep.work import Facts, Work

TAG_SCHEMA = pa.schema([*(field for field in SCHEMA if field.name != "text"), *TEXT_TAGS])


def run(work: Work) -> dict[str, Any]:
    """Write `tags-<part>.parquet` beside every part of the documents."""
    facts = work.produce(
        partial(_tag_part, run_dir=work.run_dir), part_names(work.run_dir), name=str, description="tag", unit="parts"
    )
    private = {kind: sum(each["private"][kind] for each in facts) for kind in KINDS}
    return {"documents": sum(each["documents"] for each in facts), "private": private}


def _tag_part(part: str, folder: Path, *, run_dir: Path) -> Facts:
    """Tag the documents of one part; runs in a worker."""
    table = documents_of(run_dir, part)
    columns = (table[name].to_pylist() for name in ("text", "language", "path"))
    rows = [tags_of_text(text, language=language, path=path) for text, language, path in zip(*columns, strict=True)]
    tags = pa.Table.from_pylist(rows, schema=TEXT_TAGS)
    for name in tags.column_names:
        table = table.append_column(TAG_SCHEMA.field(name), tags[name])
    write_table(folder / file_name(TAGS, part), table.drop_columns(["text"]))
    found = Counter(span["kind"] for row in rows for span in row[PRIVATE_SPANS])
    return {"documents": len(table), "private": {kind: found[kind] for kind in KINDS}}
