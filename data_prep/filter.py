"""Stage 3, filter: the recipe's limits over tags decide which documents stay; texts are not read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from codellama_train.recipe.data import DataRecipe
from data_prep.decisions import numbers, require_documents, survivors, write_decisions
from data_prep.stage import Work


def run(work: Work) -> dict[str, Any]:
    """Write the filter's decisions."""
    documents = survivors(work, None)
    facts = write_decisions(work, documents, filter_reasons(documents, work.recipe))
    require_documents("filter", facts)
    return facts


def filter_reasons(documents: pa.Table, recipe: DataRecipe) -> list[str | None]:
    """Give for each document the first line of its source's filters that drops it, or None."""
    reasons = np.full(len(documents), None, dtype=object)
    sources = np.asarray(documents["source"].to_pylist(), dtype=object)
    for source, filters in recipe.filters.items():
        for tag, limit in filters:
            if limit is None:
                continue
            values = numbers(documents, tag)
            is_open = (sources == source) & (reasons == None)  # noqa: E711 - elementwise
            if limit.above is not None:
                reasons[is_open & (values > limit.above)] = f"{tag} above {limit.above:g}"
            if limit.below is not None:
                reasons[is_open & (values < limit.below)] = f"{tag} below {limit.below:g}"
    return list(reasons)
