"""The benchmarks that a data recipe's documents may not repeat."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from codellama_train.recipe.loading import Name, Positive, RecipeTable


class Benchmark(RecipeTable):
    """A benchmark's JSON-lines file (plain or gzip); `{package:NAME}` stands for an installed package's folder."""

    path: str
    item_key: str
    text_keys: Annotated[list[str], Field(min_length=1)]


class Decontamination(RecipeTable):
    """Benchmarks that no document may repeat."""

    ngram_words: Positive
    benchmarks: Annotated[dict[Name, Benchmark], Field(min_length=1)]
