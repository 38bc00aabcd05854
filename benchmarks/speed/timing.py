"""Time versions by turns: a turn runs each once, so a slow moment of the machine meets them all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch.utils.benchmark import timer as synchronised

Clock = Callable[[], float]
Turn = dict[str, float]
"""Seconds of one call of each version."""

SHORTEST = 0.02  # s; a shorter call is repeated, for the clock's sake


class Budget(NamedTuple):
    """When to stop: after `most` turns, or `least` once `seconds` are spent, or `longest` seconds.

    There is at least one turn.
    """

    least: int
    most: int
    seconds: float
    longest: float = 20.0


def by_turns(
    versions: Mapping[str, Callable[[], object]], budget: Budget, clock: Clock = synchronised
) -> list[Turn]:
    """Return the seconds of each version in each turn; the callers have warmed them up.

    The clock waits for the GPU, as PyTorch's own does. `torch.utils.benchmark.Timer` has the same
    clock, but it runs a version twice before each measurement, which triples the time of turns.
    """
    turns: list[Turn] = []
    began = clock()
    while len(turns) < budget.most:
        turns.append({name: _seconds(run, clock) for name, run in versions.items()})
        spent = clock() - began
        if spent >= (budget.seconds if len(turns) >= budget.least else budget.longest):
            break
    return turns


def _seconds(run: Callable[[], object], clock: Clock) -> float:
    """Return the time of a call; a short one is repeated, and its first call does not count."""
    number = 1
    while True:
        start = clock()
        for _ in range(number):
            run()
        passed = clock() - start
        if number > 1 or passed >= SHORTEST:
            return passed / number
        number = max(2, math.ceil(SHORTEST / max(passed, 1e-6)))


def median(values: list[float]) -> float:
    return statistics.median(values)
