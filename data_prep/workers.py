"""Work spread over processes, of this machine or of a Ray cluster, whose results come back in order.

So the number of workers, and where they run, never shows in a result.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Protocol, TypeVar

from codellama_train.console import Progress, UserError
from data_prep.ray_pool import RayPool

Task = TypeVar("Task")
Result = TypeVar("Result")
WAITING_PER_WORKER = 4
OBJECTS_PER_COLLECTION = 100_000  # syntax trees are many objects and no garbage: the default spends a third on them


class Pool(Protocol):
    """Runs functions elsewhere."""

    workers: int

    def submit(self, function: Callable[[Any], Any], task: Any) -> Any:
        """Start `function(task)` and give a handle on its result."""

    def result(self, handle: Any) -> Any:
        """Wait for a result; raises what the function raised."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the processes back."""


class ProcessPool:
    """Processes of this machine, started afresh (not forked), because forking a process with threads can hang.

    Starting one takes half a second of processor time, so those that finished their work wait for the stage's next.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._unfinished = 0
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(workers, context, gc.set_threshold, (OBJECTS_PER_COLLECTION,))

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._unfinished or self.workers in _idle_pools:
            self.end()
        else:
            _idle_pools[self.workers] = self

    def end(self) -> None:
        """End the processes."""
        self._executor.shutdown(cancel_futures=True)

    def submit(self, function: Callable[[Any], Any], task: Any) -> Future[Any]:
        """Start `function(task)`."""
        self._unfinished += 1
        with self._deaths_told():
            return self._executor.submit(function, task)

    def result(self, handle: Future[Any]) -> Any:
        """Wait for a result."""
        with self._deaths_told():
            result = handle.result()
        self._unfinished -= 1
        return result

    @contextmanager
    def _deaths_told(self) -> Iterator[None]:
        """Say what the end of a process means, which shows as an error of whatever is asked for next."""
        try:
            yield
        except BrokenProcessPool as error:
            raise UserError(
                f"one of {self.workers} worker processes died, as happens where memory runs out; what was finished is "
                f"kept: run the same command again, with fewer machine.workers"
            ) from error


_idle_pools: dict[int, ProcessPool] = {}


def end_idle_processes() -> None:
    """End the processes that wait for more work, as a stage does when it is done."""
    while _idle_pools:
        _idle_pools.popitem()[1].end()


def map_in_order(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    progress: Progress,
    size: Callable[[Task], float] = lambda _: 1,
    cluster: str | None = None,
) -> Iterator[Result]:
    """Give `function(task)` for every task, in the tasks' order; `size` says how far each moves the progress.

    `cluster` is the address of a Ray cluster that does the work; None means processes of this machine.
    """
    if cluster is None and (workers == 1 or len(tasks) <= 1):
        for task in tasks:
            yield function(task)
            progress.advance(size(task))
        return
    with _open_pool(cluster, workers) as pool:
        waiting: deque[tuple[Task, Any]] = deque()
        for task in tasks:
            waiting.append((task, pool.submit(function, task)))
            if len(waiting) >= pool.workers * WAITING_PER_WORKER:
                yield _next_result(pool, waiting, progress, size)
        while waiting:
            yield _next_result(pool, waiting, progress, size)


def _open_pool(cluster: str | None, workers: int) -> AbstractContextManager[Pool]:
    if cluster is not None:
        return RayPool(cluster)
    return _idle_pools.pop(workers, None) or ProcessPool(workers)


def _next_result(
    pool: Pool, waiting: deque[tuple[Task, Any]], progress: Progress, size: Callable[[Task], float]
) -> Any:
    task, handle = waiting.popleft()
    result = pool.result(handle)
    progress.advance(size(task))
    return result
