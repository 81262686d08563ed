"""A command run and measured: seconds by the clock and of all processors, and the memory of all its processes."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from codellama_train.console import UserError

SECONDS_BETWEEN_LOOKS = 0.05


class Measured(NamedTuple):
    """What a command took; memory is the largest sum over its processes.

    A page that several share, of a library or a mapped file, counts once; private pages are those that none shares.
    """

    output: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    peak_private_bytes: int


def measured(command: Sequence[str], *, folder: Path | None = None, more: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end; refuses one that fails."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | dict(more or {}),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    peaks: list[float] = [0, 0, 0]
    watcher = threading.Thread(target=_watch, args=(process, peaks))
    watcher.start()
    output, errors = process.communicate()
    seconds = time.perf_counter() - started
    watcher.join()
    if process.returncode != 0:
        raise UserError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{errors[-2_000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # A process that its own parent did not wait for is in the watcher's sum only.
    return Measured(output, seconds, max(cpu_seconds, peaks[2]), round(peaks[0]), round(peaks[1]))


def _watch(process: subprocess.Popen[str], peaks: list[float]) -> None:
    """Note the largest memory of a process and all that it started, and the processor time of all of them."""
    cpu_seconds: dict[int, float] = {}
    while process.poll() is None:
        resident = private = 0
        try:
            parent = psutil.Process(process.pid)
            for each in [parent, *parent.children(recursive=True)]:
                facts = each.memory_full_info()
                resident, private = resident + facts.pss, private + facts.uss
                times = each.cpu_times()
                cpu_seconds[each.pid] = times.user + times.system
        except psutil.Error:
            continue  # one of them ended while it was looked at
        peaks[0], peaks[1] = max(peaks[0], resident), max(peaks[1], private)
        peaks[2] = sum(cpu_seconds.values())
        time.sleep(SECONDS_BETWEEN_LOOKS)
