"""Stop a run from outside: a file in its folder, or a signal to any of its processes."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

STOP_FILE = "stop"
STOPPED_FILE = "stopped"  # what becomes of an obeyed stop file: a scheduler's script then does not start the run again
SIGNALS = (signal.SIGUSR1, signal.SIGTERM)


def defer_requests() -> None:
    """Let SIGUSR1 wait until there is a StopRequest to remember it; it would end a process that still starts.

    Processes that are started meanwhile inherit this, so that a signal to all does not end them either.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})


class StopRequest:
    """Remembers that this process was asked to stop; all processes then agree at the next micro-step."""

    def __init__(self, run_dir: Path) -> None:
        self._path, self._obeyed = run_dir / STOP_FILE, run_dir / STOPPED_FILE
        self._signalled = False
        for number in SIGNALS:
            signal.signal(number, self._remember)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})

    def is_made(self) -> bool:
        """Tell whether a signal came or the stop file is there."""
        return self._signalled or self._path.exists()

    def settle(self) -> None:
        """Put the stop file aside once it has been obeyed, so that the same command continues the run."""
        if self._path.exists():
            self._path.replace(self._obeyed)

    def forget(self) -> None:
        """Remove what is left of requests from a run that is complete."""
        self._path.unlink(missing_ok=True)
        self._obeyed.unlink(missing_ok=True)

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True
