"""Work spread over processes whose results come back in order, so that the number of workers never shows."""

from __future__ import annotations

import gc
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

from codellama_train.console import Progress

Task = TypeVar("Task")
Result = TypeVar("Result")
WAITING_PER_WORKER = 4
OBJECTS_PER_COLLECTION = 100_000  # syntax trees are many objects and no garbage: the default spends a third on them


def map_in_order(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    progress: Progress,
    size: Callable[[Task], float] = lambda _: 1,
) -> Iterator[Result]:
    """Give `function(task)` for every task, in the tasks' order; `size` says how far each moves the progress.

    Processes are started afresh (not forked), because forking a process with threads can hang.
    """
    if workers == 1 or len(tasks) == 1:
        for task in tasks:
            yield function(task)
            progress.advance(size(task))
        return
    context = multiprocessing.get_context("spawn")
    num_processes = max(min(workers, len(tasks)), 1)
    with ProcessPoolExecutor(num_processes, context, gc.set_threshold, (OBJECTS_PER_COLLECTION,)) as pool:
        waiting: deque[tuple[Task, Future[Result]]] = deque()
        for task in tasks:
            waiting.append((task, pool.submit(function, task)))
            if len(waiting) >= workers * WAITING_PER_WORKER:
                yield _next_result(waiting, progress, size)
        while waiting:
            yield _next_result(waiting, progress, size)


def _next_result(
    waiting: deque[tuple[Task, Future[Result]]], progress: Progress, size: Callable[[Task], float]
) -> Result:
    task, future = waiting.popleft()
    result = future.result()
    progress.advance(size(task))
    return result
