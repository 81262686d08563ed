"""Sources read as the ingest stage reads them, for the tests of each kind."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from codellama_train.recipe.data_sources import Source
from data_prep.documents import Document
from data_prep.removals import Removals
from data_prep.sources.kinds import kind_of
from data_prep.sources.repository_facts import with_facts
from data_prep.sources.untrusted_files import LeftOut


@dataclass(frozen=True)
class Reading:
    """What a source gives."""

    documents: list[Document]
    reasons: dict[str, int]
    tasks: list[Any]
    facts: dict[str, Any]

    @property
    def texts(self) -> dict[str, str]:
        """The texts by repository and path."""
        return {f"{document.repository}:{document.path}": document.text for document in self.documents}

    def only(self) -> Document:
        """The one document there is."""
        (document,) = self.documents
        return document


def source_of(**table: Any) -> Source:
    """Give a recipe's source table."""
    source: Source = TypeAdapter(Source).validate_python({"max_file_bytes": 100_000} | table)
    return source


def reading(source: Source, downloads: Path = Path("/nowhere")) -> Reading:
    """Plan and read a source, its tasks going through JSON as they do in a run."""
    kind, removals = kind_of(source), Removals()
    json.dumps(kind.identity("some", source))
    plan = kind.plan("some", source, removals, downloads)
    tasks = json.loads(json.dumps(plan.tasks))
    reasons = Counter({reason: entry["documents"] for reason, entry in removals.as_json().get("some", {}).items()})
    documents = []
    for task in tasks:
        for entry in with_facts(source, kind.read("some", source, task)):
            if isinstance(entry, LeftOut):
                reasons[entry.reason] += 1
            else:
                documents.append(entry)
    ids = [document.document_id for document in documents]
    assert len(set(ids)) == len(ids), "two documents of one id"
    return Reading(documents, dict(reasons), tasks, plan.facts)
