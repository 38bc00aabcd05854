"""Reading ahead: what the next steps need is loaded by threads while the present one computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Loaded = TypeVar("Loaded")


def ahead(
    tasks: Iterable[Task], load: Callable[[Task], Loaded], threads: int
) -> Iterator[tuple[Task, Loaded]]:
    """(task, load(task)) in the order of the tasks, at most `threads` of them ahead.

    With 0 threads each is loaded when it is asked for. What `load` raises is raised at its task.
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
