"""Reading ahead keeps the order, stays bounded, and passes errors on."""

from __future__ import annotations

import threading
import time

import pytest

from reclip.common.prefetch import prefetch


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_results_come_in_the_order_of_the_tasks(threads: int) -> None:
    def slow_when_even(task: int) -> int:
        time.sleep(0.01 * (task % 2 == 0))
        return task * task

    assert list(prefetch(range(9), slow_when_even, threads)) == [(k, k * k) for k in range(9)]


@pytest.mark.parametrize("threads", [0, 3])
def test_no_more_is_loaded_than_can_be_used_soon(threads: int) -> None:
    loaded: list[int] = []
    results = prefetch(range(100), loaded.append, threads)
    next(results)
    time.sleep(0.05)
    assert len(loaded) <= threads + 1
    results.close()
    assert threading.active_count() < 3 + 1


@pytest.mark.parametrize("threads", [0, 2])
def test_a_fault_is_raised_at_its_task(threads: int) -> None:
    def load(task: int) -> int:
        if task == 2:
            raise OSError("unreadable")
        return task

    results = prefetch(range(5), load, threads)
    assert [next(results)[0], next(results)[0]] == [0, 1]
    with pytest.raises(OSError, match="unreadable"):
        next(results)
