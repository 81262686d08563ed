"""The texts that leave data preparation: as they were read, or with private data replaced where the recipe says so.

Duplicates and benchmarks are looked for in the original texts; placeholders go in where texts are encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from codellama_train.recipe.data_rules import Redaction
from data_prep.parts import documents_of, tags_of
from data_prep.tags.private_data import PrivateSpan, redacted
from data_prep.tags.text_tags import PRIVATE_SPANS


def documents_to_encode(
    run_dir: Path, part: str, redaction: Redaction | None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read a part's documents as a tokenizer may see them."""
    table = documents_of(run_dir, part, columns)
    if redaction is None:
        return table
    spans = tags_of(run_dir, part, [PRIVATE_SPANS])[PRIVATE_SPANS].to_pylist()
    texts = [
        redacted(text, [PrivateSpan(**span) for span in own], redaction.kinds) if own else text
        for text, own in zip(table["text"].to_pylist(), spans, strict=True)
    ]
    return table.set_column(table.column_names.index("text"), table.schema.field("text"), pa.array(texts, pa.string()))
