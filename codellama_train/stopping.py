"""Stop a run from outside: a file in its folder, or a signal to any of its processes."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

STOP_FILE = "stop"
SIGNALS = (signal.SIGUSR1, signal.SIGTERM)


class StopRequest:
    """Remembers that this process was asked to stop; all processes then agree at the next micro-step."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / STOP_FILE
        self._signalled = False
        for number in SIGNALS:
            signal.signal(number, self._remember)

    def is_made(self) -> bool:
        """Tell whether a signal came or the stop file is there."""
        return self._signalled or self._path.exists()

    def settle(self) -> None:
        """Remove the stop file once it has been obeyed, so that the same command continues the run."""
        self._path.unlink(missing_ok=True)

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True
