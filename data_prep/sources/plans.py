"""What a source's kind plans to read: tasks that a worker can do alone, as JSON, so that a killed ingest keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Plan:
    """The tasks of one source in a fixed order, and what its manifest should say of where it comes from."""

    tasks: list[Any]
    facts: dict[str, Any] = field(default_factory=dict)
