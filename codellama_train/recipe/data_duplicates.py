"""How a data recipe searches for near-duplicates."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from codellama_train.recipe.loading import Positive, RecipeTable


class Deduplication(RecipeTable):
    """MinHash banding over word n-grams, verified by exact Jaccard similarity."""

    ngram_words: Positive
    permutations: Positive
    bands: Positive
    rows_per_band: Positive
    similarity: Annotated[float, Field(gt=0, le=1)]
    against: Annotated[list[str], Field(default_factory=list)]  # run folders of earlier releases, only read

    @model_validator(mode="after")
    def _bands_fit(self) -> Deduplication:
        if self.bands * self.rows_per_band > self.permutations:
            raise ValueError(
                f"deduplication: bands={self.bands} of rows_per_band={self.rows_per_band} need "
                f"{self.bands * self.rows_per_band} permutations, but permutations={self.permutations}"
            )
        return self
