"""Stage 3, filter: the recipe's limits over tags decide which documents stay; texts are not read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.data_rules import Filters, Limit, Mark
from data_prep.decisions import merge_facts, numbers, require_documents, write_decisions
from data_prep.parts import BoolArray, part_names, source_of, tags_of
from data_prep.removal_requests import REASON, Request, is_requested, read_ledger
from data_prep.tags.languages import KNOWN_LANGUAGES
from data_prep.tags.license_rules import license_reason
from data_prep.work import Facts, Work


def run(work: Work) -> dict[str, Any]:
    """Write the filter's decisions."""
    requests = read_ledger(work.run_dir)
    decide = partial(_filter_part, run_dir=work.run_dir, recipe=work.recipe, requests=requests)
    facts = merge_facts(work.produce(decide, part_names(work.run_dir), name=str, description="filter", unit="parts"))
    require_documents("filter", facts)
    return facts


def _filter_part(part: str, folder: Path, *, run_dir: Path, recipe: DataRecipe, requests: Sequence[Request]) -> Facts:
    """Decide about one part; runs in a worker."""
    tags = tags_of(run_dir, part)
    by_rule = filter_reasons(tags, recipe.filters.get(source_of(part)))
    reasons = [REASON if asked else rule for asked, rule in zip(is_requested(tags, requests), by_rule, strict=True)]
    return write_decisions(folder, part, tags, np.ones(len(tags), dtype=np.bool_), reasons)


def filter_reasons(tags: pa.Table, filters: Filters | None) -> list[str | None]:
    """Give for each document the first line of the filters that drops it, or None."""
    reasons = np.full(len(tags), None, dtype=object)
    for why, is_hit in hits_of(tags, filters):
        reasons[is_hit & (reasons == None)] = why  # noqa: E711 - elementwise
    return list(reasons)


def hits_of(tags: pa.Table, filters: Filters | None) -> Iterator[tuple[str, BoolArray]]:
    """Give what each line of the filters would drop were it the only one, and in which words."""
    if filters is None:
        return
    languages = np.asarray([language or "" for language in tags["language"].to_pylist()], dtype=object)
    for language in sorted(set(languages)):
        for tag, line in filters.of_language(language).items():
            for why, is_hit in _hits(tag, line, numbers(tags, tag)):
                yield why, is_hit & (languages == language)
    if filters.license is not None:
        found = [license_reason(expression, filters.license.allowed) for expression in licenses_of(tags)]
        for why in sorted({reason for reason in found if reason is not None}):
            yield why, np.asarray([reason == why for reason in found], dtype=np.bool_)


def _hits(tag: str, line: Limit | Mark, values: npt.NDArray[Any]) -> Iterator[tuple[str, BoolArray]]:
    """Give what a line drops, and in which words; what is not known is NaN and never dropped."""
    if isinstance(line, Mark):
        yield f"{tag} is {line.dropped}", values == line.dropped
        return
    if line.above is not None:
        yield f"{tag} above {line.above:g}", values > line.above
    if line.below is not None:
        yield f"{tag} below {line.below:g}", values < line.below


def licenses_of(tags: pa.Table) -> list[str | None]:
    """Give the licence of each document: the one its own text names, or else its repository's."""
    columns = (tags[name].to_pylist() for name in ("license_in_file", "license"))
    return [own or of_repository for own, of_repository in zip(*columns, strict=True)]


def inputs_of(recipe: DataRecipe) -> Any:
    """Give the lines of the filters, refusing languages that no document can have."""
    for source, filters in recipe.filters.items():
        for language in filters.languages:
            if language not in KNOWN_LANGUAGES:
                near = difflib.get_close_matches(language, KNOWN_LANGUAGES, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "; names are Linguist's in lower case"
                raise UserError(f"filters.{source}.languages names {language!r}, which is no language{hint}")
    return [[name, filters.model_dump(mode="json")] for name, filters in recipe.filters.items()]
