"""Trainings in processes of their own that a parent lets go on one step at a time, with the time and memory of each."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

spawning = multiprocessing.get_context("spawn")


class Step(NamedTuple):
    """What a step gave and took.

    Memory is resident, in bytes above what the process held before it had a model; on a GPU all that torch holds there.
    """

    loss: float
    seconds: float
    cpu_seconds: float
    peak_bytes: int  # in this step
    peak_bytes_ever: int


class Pacer:
    """Held by a training process: reports each step to the parent, and waits for its word before the next."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._bytes_before = memory_bytes("VmRSS")
        self._start_clocks()

    def pause(self, loss: float) -> None:
        """Report the step that has just ended and wait; the process ends here when the parent has seen enough."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            peak = ever = torch.cuda.max_memory_reserved()
        else:
            peak = memory_bytes("VmHWM") - self._bytes_before
            ever = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - self._bytes_before
        seconds, cpu_seconds = time.perf_counter() - self._started, time.process_time() - self._cpu_started
        self._pipe.send(Step(loss, seconds, cpu_seconds, peak, ever))
        if not self._pipe.recv():
            os._exit(0)  # nothing of what a training does at its end, such as exporting, is wanted
        self._start_clocks()

    def _start_clocks(self) -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark starts anew
        self._started, self._cpu_started = time.perf_counter(), time.process_time()


def memory_bytes(name: str) -> int:
    """Read a line of this process's status as Linux tells it: VmRSS is now, VmHWM the most since it was last reset."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


@contextmanager
def started(
    training: Callable[..., None], named: dict[str, Sequence[Any]], *, context: Any = spawning
) -> Iterator[dict[str, Connection]]:
    """Start a process per name, which calls `training(pipe, *arguments)`; each is at its first pause, or on its way."""
    pipes, processes = {}, []
    for name, arguments in named.items():
        pipes[name], theirs = context.Pipe()
        process = context.Process(target=training, args=(theirs, *arguments), name=name, daemon=True)
        process.start()
        processes.append(process)
        theirs.close()  # so that a process that dies is an end of file here
    try:
        yield pipes
    finally:
        for process in processes:
            process.kill()
            process.join()


def first_steps(pipes: dict[str, Connection]) -> dict[str, Step]:
    """Wait for the steps that each process makes at its start, model and optimizer included."""
    return {name: pipe.recv() for name, pipe in pipes.items()}


def steps_in_turn(pipes: dict[str, Connection], *, rounds: int) -> dict[str, list[Step]]:
    """Let each process make one step a round, alone on the machine as far as we know, every other round in reverse."""
    steps: dict[str, list[Step]] = {name: [] for name in pipes}
    for number in range(rounds):
        for name in list(pipes)[:: 1 if number % 2 else -1]:
            pipes[name].send(True)
            steps[name].append(pipes[name].recv())
    return steps
