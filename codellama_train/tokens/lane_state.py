"""Where a lane stands: a few integers, from which it goes on without replaying anything."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Carried:
    """A document that a row's end has cut: the lane's draw of a source, and how many of its tokens are read."""

    source: int
    number: int
    offset: int


@dataclass(frozen=True)
class LaneState:
    """What a lane has read, per source, and the document it is in; None between documents.

    `window` is None but within a window of best-fit packing.
    """

    documents: tuple[int, ...]
    tokens: tuple[int, ...]
    infilled_documents: tuple[int, ...]
    infilled_tokens: tuple[int, ...]
    carried: Carried | None
    window: WindowPlace | None = None

    def as_json(self) -> dict[str, Any]:
        """Give the state as a JSON value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LaneState:
        """Undo `as_json`."""
        counts = {name: tuple(count) for name, count in value.items() if name not in ("carried", "window")}
        carried, window = value["carried"], value.get("window")
        return cls(
            **counts,
            carried=Carried(**carried) if carried else None,
            window=WindowPlace(cls.from_json(window["start"]), window["rows_read"]) if window else None,
        )


@dataclass(frozen=True)
class WindowPlace:
    """A place in a window of best-fit packing: the state it began with, and how many of its rows are read."""

    start: LaneState
    rows_read: int


def initial_state(num_sources: int) -> LaneState:
    """Give the state of a lane that has read nothing."""
    nothing = (0,) * num_sources
    return LaneState(nothing, nothing, nothing, nothing, carried=None)
