"""Contestants measured in turn, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K")
T = TypeVar("T")


class Round(NamedTuple, Generic[T]):
    """What a contestant gave in one round, and the seconds it took: by the clock, and of this process's processor."""

    result: T
    seconds: float
    cpu_seconds: float


def in_turn(contestants: Mapping[K, Callable[[], T]], *, rounds: int) -> dict[K, list[Round[T]]]:
    """Let each contestant run once a round, every other round in reverse; one more round before is not counted."""
    measured: dict[K, list[Round[T]]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name in list(contestants)[:: 1 if number % 2 else -1]:
            started, cpu_started = time.perf_counter(), time.process_time()
            result = contestants[name]()
            measured[name].append(Round(result, time.perf_counter() - started, time.process_time() - cpu_started))
    return {name: rounds_of[1:] for name, rounds_of in measured.items()}


def median_rate(rounds: list[Round[T]], amount: Callable[[T], float], *, by_clock: bool = False) -> float:
    """Give the median over the rounds of what was done per second."""
    return median(amount(one.result) / (one.seconds if by_clock else one.cpu_seconds) for one in rounds)
