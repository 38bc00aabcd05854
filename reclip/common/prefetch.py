"""Prefetch the next batches in background threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Loaded = TypeVar("Loaded")


def prefetch(
    tasks: Iterable[Task], load: Callable[[Task], Loaded], threads: int
) -> Iterator[tuple[Task, Loaded]]:
    """Yield (task, load(task)) in the order of the tasks, loading up to `threads` of them ahead.

    With 0 threads, each is loaded when it is needed. An error of `load` is raised at its task.
    Workers of torch's DataLoader would not do: each process would hold its own caches.
    """
    if threads == 0:
        for task in tasks:
            yield task, load(task)
        return
    pool = ThreadPoolExecutor(threads)
    waiting: deque[tuple[Task, Future[Loaded]]] = deque()
    try:
        for task in tasks:
            waiting.append((task, pool.submit(load, task)))
            if len(waiting) > threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
