"""The benchmarks that a data recipe's documents may not repeat."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from codellama_train.recipe.loading import Name, RecipeTable

BenchmarkFormat = Literal[
    "apps",
    "ds1000",
    "gsm8k",
    "humaneval",  # also HumanEval+, HumanEval-X, Multilingual HumanEval and MBXP
    "humaneval_infilling",
    "mbpp",
    "mbpp_sanitized",
    "multipl_e",
    "toxigen",
    "truthfulqa",
    "xstest",
]


class Benchmark(RecipeTable):
    """A benchmark's files, and which of their fields hold its items: of a known format, or named one by one.

    `path` is a file (JSON lines, a JSON array, CSV or Parquet, plain or gzip), a folder of such files, or a pattern
    with `*`; `{package:NAME}` stands for an installed package's folder.
    """

    path: str
    format: BenchmarkFormat | None = None
    item_key: str | None = None  # None numbers the rows
    text_keys: Annotated[list[str], Field(default_factory=list)]
    # Those of the texts that hold code alone, which is also looked for under other names.
    solution_keys: Annotated[list[str], Field(default_factory=list)]
    items: Annotated[str, Field(pattern=r"^\d+-\d+(, *\d+-\d+)*$")] | None = None  # by number; None means all

    @model_validator(mode="after")
    def _says_its_fields_once(self) -> Benchmark:
        if (self.format is None) == (not self.text_keys):
            raise ValueError(
                f"a benchmark needs either format (a known one) or text_keys (its fields), not both or neither; it has "
                f"format={self.format!r} and text_keys={self.text_keys!r}"
            )
        if self.format is not None and (self.item_key or self.solution_keys):
            raise ValueError(f"format={self.format!r} says which fields a benchmark has; leave the keys out")
        return self


class Decontamination(RecipeTable):
    """Benchmarks that no document may repeat, and how much of an item counts as repeating it."""

    ngram_words: Annotated[int, Field(ge=8)]  # GPT-3's least, appendix C
    substring_characters: Annotated[int, Field(ge=32)]
    near_similarity: Annotated[float, Field(gt=0, le=1)]
    benchmarks: Annotated[dict[Name, Benchmark], Field(min_length=1)]
