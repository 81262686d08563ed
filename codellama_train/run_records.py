"""Read the record of a run, also while it is being written. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codellama_train.console import UserError


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the steps' records; a resumed run may have written a step twice, and the later line counts.

    A torn last line, of a run that is being written or was killed, is passed over.
    """
    by_step: dict[int, dict[str, Any]] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            if number < len(lines):
                raise UserError(f"{path} line {number} is not JSON; the file was edited or damaged") from None
            continue
        by_step[record["step"]] = record
    return [by_step[step] for step in sorted(by_step)]


def training_seconds(metrics: list[dict[str, Any]]) -> float:
    """Add up the seconds of all steps; each record speaks for the steps since the one before it."""
    seconds, before = 0.0, 0
    for record in metrics:
        seconds += (record.get("seconds_per_step") or 0.0) * (record["step"] - before)
        before = record["step"]
    return seconds
