"""The lines of a data recipe that decide over tags."""

from __future__ import annotations

from pydantic import model_validator

from codellama_train.recipe.loading import RecipeTable


class Limit(RecipeTable):
    """Drop a document whose tag lies above or below a threshold."""

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Limit:
        if self.above is None and self.below is None:
            raise ValueError("a filter line needs above = … or below = …")
        return self


class Filters(RecipeTable):
    """One line per tag that decides; each tag is described in data_prep/tag.py."""

    num_characters: Limit | None = None
    num_words: Limit | None = None
    longest_line: Limit | None = None
    mean_line: Limit | None = None
    alphanumeric_fraction: Limit | None = None
    generated_marks: Limit | None = None
