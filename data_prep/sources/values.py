"""Values that strangers wrote, as what a document table can hold: words, licences, counts and times."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from typing import Any

LARGEST_COUNT = 1 << 62
LATEST_TIME = 1 << 33  # seconds: the year 2242
MILLISECONDS_FROM = 100_000_000_000  # a larger number of seconds lies in the year 5138


def as_text(value: Any) -> str:
    """Give a word of a row as text that can be stored; nothing where it is none."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value.encode("utf-8", errors="replace").decode() if isinstance(value, str) else ""


def as_license(value: Any) -> str | None:
    """Give a licence, or several as one SPDX expression: all of them apply."""
    names = value if isinstance(value, list) else [value]
    return " AND ".join(sorted({as_text(name) for name in names} - {""})) or None


def as_count(value: Any) -> int | None:
    """Give a count; tables of counts with gaps often hold them as floats."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if abs(value) < LARGEST_COUNT else None


def as_time(value: Any) -> int | None:
    """Give a time as unix seconds: from a time stamp, a date, ISO text, or a number; without a zone it is UTC."""
    if isinstance(value, str | bytes):
        try:
            value = datetime.fromisoformat(as_text(value).strip().removesuffix(" UTC"))
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    seconds = as_count(value)
    return possible_time(seconds // 1000 if seconds is not None and seconds > MILLISECONDS_FROM else seconds)


def possible_time(seconds: int | None) -> int | None:
    """Give a time that a file may have; None for one that no clock has shown."""
    return seconds if seconds is not None and 0 < seconds < LATEST_TIME else None
