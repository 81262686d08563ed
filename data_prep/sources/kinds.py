"""The kinds of source, each a module with three functions: what it names, what is to be read, and the reading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

from codellama_train.recipe.data_sources import Source
from data_prep.documents import Document
from data_prep.removals import Removals
from data_prep.sources import archives, folders, huggingface, jsonl, parquet, pypi, stackexchange
from data_prep.sources.plans import Plan
from data_prep.sources.untrusted_files import LeftOut


class Kind(Protocol):
    """How one kind of source is read."""

    def identity(self, name: str, source: Any, /) -> Any:
        """Give, as JSON, what decides the documents besides the recipe; refuses what does not exist."""

    def plan(self, name: str, source: Any, removals: Removals, downloads: Path, /) -> Plan:
        """Find what is to be read, in the parent process, and count what is left out unread."""

    def read(self, name: str, source: Any, task: Any, /) -> Iterator[Document | LeftOut]:
        """Read one planned task; runs in a worker, and gives the same whatever was read before."""


KINDS = {
    "folders": folders,
    "documentation": folders,
    "archives": archives,
    "pypi": pypi,
    "parquet": parquet,
    "jsonl": jsonl,
    "huggingface": huggingface,
    "stackexchange": stackexchange,
}


def kind_of(source: Source) -> Kind:
    """Give the kind that reads a source."""
    return cast(Kind, KINDS[source.kind])
