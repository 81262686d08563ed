"""What was left out and why: per reason the count, the bytes, and a few samples for a person to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SAMPLES = 5
SAMPLE_CHARACTERS = 200


@dataclass
class Reason:
    """Everything left out for one reason."""

    documents: int = 0
    bytes: int = 0
    samples: list[dict[str, str]] = field(default_factory=list)


class Removals:
    """Counts of what was left out, by source and reason; samples are the first ones added."""

    def __init__(self) -> None:
        self._by_source: dict[str, dict[str, Reason]] = {}

    def add(self, source: str, reason: str, *, path: str, text: str = "", num_bytes: int = 0) -> None:
        """Count one document, file or piece that is left out."""
        entry = self._by_source.setdefault(source, {}).setdefault(reason, Reason())
        entry.documents += 1
        entry.bytes += num_bytes
        if len(entry.samples) < SAMPLES:
            entry.samples.append({"path": path, "text": text[:SAMPLE_CHARACTERS]})

    @classmethod
    def from_json(cls, counts: Mapping[str, Mapping[str, Any]]) -> Removals:
        """Give back the counts that `as_json` wrote."""
        removals = cls()
        for source, reasons in counts.items():
            removals._by_source[source] = {
                name: Reason(entry["documents"], entry["bytes"], list(entry["samples"]))
                for name, entry in reasons.items()
            }
        return removals

    def merge(self, other: Removals) -> None:
        """Add another's counts; its samples come after the ones here."""
        for source, reasons in other._by_source.items():
            for reason, theirs in reasons.items():
                ours = self._by_source.setdefault(source, {}).setdefault(reason, Reason())
                ours.documents += theirs.documents
                ours.bytes += theirs.bytes
                ours.samples = (ours.samples + theirs.samples)[:SAMPLES]

    def count(self, source: str, reason: str) -> int:
        """Tell how many were left out of a source for a reason."""
        return self._by_source.get(source, {}).get(reason, Reason()).documents

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Give the counts as {source: {reason: {documents, bytes, samples}}}, largest reason first."""
        return {source: _largest_first(reasons) for source, reasons in sorted(self._by_source.items())}


def in_words(reasons: Mapping[str, Any]) -> str:
    """Say how many of one source were left out for which reason, in one line."""
    return ", ".join(f"{why}: {counts['documents']:,}" for why, counts in reasons.items()) or "nothing was left out"


def _largest_first(reasons: Mapping[str, Reason]) -> dict[str, Any]:
    ordered = sorted(reasons.items(), key=lambda item: (-item[1].documents, item[0]))
    return {name: vars(reason) for name, reason in ordered}
