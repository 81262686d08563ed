"""Stage 3, filter: the recipe's limits over tags decide which documents stay; texts are not read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.data_rules import Filters
from data_prep.decisions import merge_facts, numbers, require_documents, write_decisions
from data_prep.parts import part_names, source_of, tags_of
from data_prep.work import Facts, Work


def run(work: Work) -> dict[str, Any]:
    """Write the filter's decisions."""
    decide = partial(_filter_part, run_dir=work.run_dir, recipe=work.recipe)
    facts = merge_facts(work.produce(decide, part_names(work.run_dir), name=str, description="filter", unit="parts"))
    require_documents("filter", facts)
    return facts


def _filter_part(part: str, folder: Path, *, run_dir: Path, recipe: DataRecipe) -> Facts:
    """Decide about one part; runs in a worker."""
    tags = tags_of(run_dir, part)
    reasons = filter_reasons(tags, recipe.filters.get(source_of(part)))
    return write_decisions(folder, part, tags, np.ones(len(tags), dtype=np.bool_), reasons)


def filter_reasons(tags: pa.Table, filters: Filters | None) -> list[str | None]:
    """Give for each document the first line of the filters that drops it, or None."""
    reasons = np.full(len(tags), None, dtype=object)
    for tag, limit in filters or ():
        if limit is None:
            continue
        values = numbers(tags, tag)
        is_open = reasons == None  # noqa: E711 - elementwise
        if limit.above is not None:
            reasons[is_open & (values > limit.above)] = f"{tag} above {limit.above:g}"
        if limit.below is not None:
            reasons[is_open & (values < limit.below)] = f"{tag} below {limit.below:g}"
    return list(reasons)
