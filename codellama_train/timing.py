"""Where the seconds of a step go: waiting for data, forward, backward, update, saving, and the rest."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

Part = Literal["data_wait", "forward", "backward", "update", "saving"]
PARTS: tuple[Part, ...] = ("data_wait", "forward", "backward", "update", "saving")
ON_DEVICE: tuple[Part, ...] = ("forward", "backward", "update")


@dataclass(frozen=True)
class Lap:
    """The seconds of some steps, whole and by part; the parts and `rest` sum to the whole."""

    seconds: float
    by_part: dict[str, float]

    def per_step(self, num_steps: int) -> dict[str, Any]:
        """Give the seconds of one of its steps, as metrics have them."""
        return {
            "seconds_per_step": self.seconds / num_steps,
            "seconds_by_part": {part: seconds / num_steps for part, seconds in self.by_part.items()},
            "data_wait_fraction": self.by_part["data_wait"] / self.seconds,
        }


class StepTimer:
    """Times the parts of steps, lap by lap; a lap ends where the next begins, so that no second is lost.

    On CUDA, where a call returns before its work is done, forward, backward and update are timed by events on the
    device, read only when the lap ends: nothing waits for the device within a step. There a wait for data may fall into
    the update before it, and the sum then exceeds the whole by as much. The rest is what no part claims: agreeing on
    counts and stop requests, the watchdog, adding up losses, writing metrics.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begin()

    @contextmanager
    def part(self, name: Part) -> Iterator[None]:
        """Count what happens meanwhile as a part of the step."""
        if self._device.type == "cuda" and name in ON_DEVICE:
            start, end = (self._event(), self._event())
            start.record()
            yield
            end.record()
            self._events.append((name, start, end))
        else:
            started = time.perf_counter()
            yield
            self._seconds[name] += time.perf_counter() - started

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Count what happens meanwhile as no part of training."""
        self._wait_for_device()
        started = time.perf_counter()
        yield
        self._wait_for_device()
        self._started += time.perf_counter() - started

    def lap(self) -> Lap:
        """End the lap and begin the next."""
        self._wait_for_device()
        for name, start, end in self._events:
            self._seconds[name] += start.elapsed_time(end) / 1000
        seconds, by_part = time.perf_counter() - self._started, self._seconds
        self._begin()
        return Lap(seconds, {**by_part, "rest": max(seconds - sum(by_part.values()), 0.0)})

    def _begin(self) -> None:
        self._started = time.perf_counter()
        self._seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self._events: list[tuple[Part, Any, Any]] = []

    def _event(self) -> Any:
        return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def _wait_for_device(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def slowest_rank(forward_seconds: Sequence[float]) -> dict[str, Any]:
    """Name the rank with the longest forward passes, and by what factor they are longer than the median rank's.

    At ZeRO stages 1 and 2 nothing is communicated in forward, so that its seconds are the rank's own speed. At stage 3
    ranks wait for each other's weights there, and a slow one shows only by what it computes between two waits.
    """
    rank = max(range(len(forward_seconds)), key=forward_seconds.__getitem__)
    median = statistics.median(forward_seconds)
    return {"slowest_rank": rank, "slowest_rank_ratio": forward_seconds[rank] / median if median else 1.0}
