"""The data recipe: which sources, which rules, which shards, and every number in between."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from codellama_train.recipe.data_benchmarks import Decontamination
from codellama_train.recipe.data_duplicates import Deduplication
from codellama_train.recipe.data_rules import Filters, Redaction
from codellama_train.recipe.data_sources import Source
from codellama_train.recipe.loading import Name, Positive, RecipeTable
from codellama_train.tokens.dialogue_format import DialogueFormat

Cut = Literal["files", "functions", "dialogues"]


class HeldOut(RecipeTable):
    """How documents are set aside for evaluation: whole repositories by the hash of their name."""

    fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
    min_repositories: Positive  # a source with fewer is divided by file


class Tokenizer(RecipeTable):
    """A tokenizer to use (a model's folder, or a file of either kind), or the size of one to train (section 2.2)."""

    path: str | None = None
    vocabulary_size: Positive | None = None
    sample_megabytes: Positive | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Tokenizer:
        if (self.path is None) == (self.vocabulary_size is None):
            raise ValueError(
                f"tokenizer needs either path (a folder or file) or vocabulary_size (train one), not both or neither; "
                f"it has path={self.path!r} and vocabulary_size={self.vocabulary_size!r}"
            )
        if (self.vocabulary_size is None) != (self.sample_megabytes is None):
            raise ValueError("tokenizer.sample_megabytes goes with tokenizer.vocabulary_size, and only with it")
        return self


class ShardView(RecipeTable):
    """One set of shards: a source's documents whole, or cut into functions, or made into dialogues."""

    source: Name
    cut: Cut
    dialogue_format: DialogueFormat = "inst"  # of cut = "dialogues"; "source_destination" is the 70B Instruct model's
    languages: list[str] | None = None  # None means all
    max_document_tokens: Positive | None = None  # longer ones are dropped and counted; None means no bound
    max_megabytes: Positive | None = None  # of training text; None means all of it
    min_document_kilobytes: Positive | None = None  # shorter files are left to other views; None means no bound

    @model_validator(mode="after")
    def _pieces_are_bounded(self) -> ShardView:
        if self.cut != "files" and self.max_document_tokens is None:
            raise ValueError(
                f"a shards table with cut={self.cut!r} needs max_document_tokens, the longest piece to keep"
            )
        return self

    @model_validator(mode="after")
    def _only_dialogues_have_a_format(self) -> ShardView:
        if self.cut != "dialogues" and self.dialogue_format != "inst":
            raise ValueError(
                f"a shards table with dialogue_format={self.dialogue_format!r} needs cut='dialogues', not {self.cut!r}"
            )
        return self


class DataMachine(RecipeTable):
    """How a data recipe runs on the machine at hand; never changes a byte of the result."""

    workers: Positive | None = None  # None means one per processor
    memory_megabytes: Positive = 8_000  # of all processes of a stage together, where a stage's need grows with the data
    cluster: str | None = None  # address of a Ray cluster ("auto" on one of its nodes) whose processors do the work


class DataRecipe(RecipeTable):
    """One data set, complete: from source files to token shards."""

    name: str
    runs: str = "runs"
    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    filters: Annotated[dict[Name, Filters], Field(default_factory=dict)]
    redaction: Redaction | None = None
    deduplication: Deduplication
    decontamination: Decontamination | None = None
    held_out: HeldOut
    tokenizer: Tokenizer
    shards: Annotated[dict[Name, ShardView], Field(min_length=1)]
    machine: DataMachine = DataMachine()

    @model_validator(mode="after")
    def _names_are_sources(self) -> DataRecipe:
        named = {f"filters.{name}": name for name in self.filters}
        named |= {f"shards.{name}.source": view.source for name, view in self.shards.items()}
        for key, source in named.items():
            if source not in self.sources:
                raise ValueError(f"{key} names {source!r}, which is none of the sources: {', '.join(self.sources)}")
        return self

    @property
    def run_dir(self) -> Path:
        """The folder that holds all this recipe produces."""
        return Path(self.runs) / self.name
