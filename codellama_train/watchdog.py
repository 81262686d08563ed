"""End a run that hangs: when micro-steps stop finishing, say where every thread stands and exit."""

from __future__ import annotations

import faulthandler
import os
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FACTOR_OF_MEDIAN, FACTOR_OF_LONGEST = 10, 3
REMEMBERED = 1_024
EXIT_CODE = 1


class Watchdog:
    """Ends this process when it has not finished a micro-step for 10 times their median duration.

    Never before `least_seconds`, nor before 3 times the longest of late: a micro-step that follows an update by an
    offloaded optimizer lasts long by right. The first `num_ignored` beats teach nothing and the next as many only
    teach, because kernels are compiled and buffers made in the first step. Every process runs one: all hang where one
    hangs, and each waits `grace_seconds` with its stacks written, so that the first to leave does not cut off others.
    """

    def __init__(
        self, run_dir: Path, *, rank: int, num_ignored: int, least_seconds: float = 60.0, grace_seconds: float = 10.0
    ) -> None:
        self.path = run_dir / f"stacks-rank-{rank}.txt"
        self._num_ignored, self._num_beats = num_ignored, 0
        self._least_seconds, self._grace_seconds = least_seconds, grace_seconds
        self._durations: deque[float] = deque(maxlen=REMEMBERED)
        self._is_suspended = False
        self._last_beat = time.monotonic()
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def beat(self) -> None:
        """Tell that a micro-step has finished."""
        now = time.monotonic()
        self._num_beats += 1
        if self._num_beats > self._num_ignored:
            self._durations.append(now - self._last_beat)
        self._last_beat = now

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Watch nothing meanwhile: saving and exporting take the time they take."""
        self._is_suspended = True
        try:
            yield
        finally:
            self._last_beat = time.monotonic()
            self._is_suspended = False

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def limit_seconds(self) -> float | None:
        """Give how long a micro-step may last; None as long as too few have been seen."""
        durations = list(self._durations)
        if len(durations) < max(self._num_ignored, 1):
            return None
        usual, longest = statistics.median(durations), max(durations)
        return max(self._least_seconds, FACTOR_OF_MEDIAN * usual, FACTOR_OF_LONGEST * longest)

    def _watch(self) -> None:
        while not self._stopped.wait(min(self._least_seconds / 10, 1.0)):
            limit_seconds = self.limit_seconds()
            waited_seconds = time.monotonic() - self._last_beat
            if not self._is_suspended and limit_seconds is not None and waited_seconds > limit_seconds:
                self._end(waited_seconds)

    def _end(self, waited_seconds: float) -> None:
        """Write the stacks and leave without cleaning up, which would wait for whatever the process hangs in."""
        usual = statistics.median(self._durations)
        reason = f"no micro-step has finished for {waited_seconds:,.1f} s; half of them take less than {usual:,.2g} s"
        with self.path.open("w", encoding="utf-8") as file:
            file.write(f"{reason}\n\n")
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)
        sys.stderr.write(f"error: {reason}; what every thread was doing is in {self.path}\n")
        sys.stderr.flush()
        time.sleep(self._grace_seconds)
        os._exit(EXIT_CODE)
