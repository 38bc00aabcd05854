"""Measure a stage: compare the results, then time plain version, ours and limit by turns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from reclip.common.errors import ReclipError
from speed.case import Case, difference
from speed.inputs import Inputs
from speed.limits import Precision, Probes, limit
from speed.timing import Budget, Clock, Turn, by_turns, median, synchronised


class Row(NamedTuple):
    """A line of the table; times are seconds of one unit.

    ratio: times faster than the plain version; share: of the limit that is reached, 1 is all. Both
    are medians over the turns. difference: from the plain version's result. turns: their number.
    """

    stage: str
    size: str
    precision: Precision
    unit: str
    batch: int
    plain: float
    ours: float
    limit: float
    ratio: float
    share: float
    difference: float
    turns: int


def measure(
    stage: str, case: Case, inputs: Inputs, probes: Probes, budget: Budget,
    clock: Clock = synchronised,
) -> list[Row]:  # fmt: skip
    """Return a row for each precision of a case.

    The plain version computes in float32 in all of them.
    Raises ReclipError: the plain version gives another result.
    """
    apart = _compare(stage, case, inputs)
    probes = {**probes, **case.probes}
    versions: dict[str, Callable[[], object]] = {"plain": partial(case.plain, case.few)}
    for precision in case.precisions:
        versions[precision] = partial(case.ours, case.many, precision)
        if case.many != case.few:
            versions[precision]()  # warm-up
    wanted = {name: probe for name, probe in probes.items() if _is_needed(name, case)}
    turns = by_turns(versions | {name: p.run for name, p in wanted.items()}, budget, clock)
    return [
        _row(stage, case, inputs, precision, turns, probes, apart[precision])
        for precision in case.precisions
    ]


def _is_needed(probe: str, case: Case) -> bool:
    """Return whether the limit of a case depends on a probe."""
    kind, _, precision = probe.partition(" ")
    return bool(getattr(case.need, kind)) and (not precision or precision in case.precisions)


def _compare(stage: str, case: Case, inputs: Inputs) -> dict[Precision, float]:
    """Return how far ours is from the plain version in each precision."""
    expected = list(case.plain(case.few))
    found = {p: difference(case.ours(case.few, p), expected) for p in case.precisions}
    apart = found[case.precisions[0]]
    if not apart <= case.tolerance:
        raise ReclipError(
            f"{stage} ({inputs.size.name}): the plain version gives another result (difference "
            f"{apart:.2g}, allowed {case.tolerance:g}): correct it or benchmarks/speed/plain.py."
        )
    return found


def _row(
    stage: str, case: Case, inputs: Inputs, precision: Precision, turns: list[Turn],
    probes: Probes, apart: float,
) -> Row:  # fmt: skip
    plain = [turn["plain"] / case.few for turn in turns]
    ours = [turn[precision] / case.many for turn in turns]
    limits = [limit(case.need, precision, _rates(turn, probes)) for turn in turns]
    return Row(
        stage, inputs.size.title, precision, case.unit, case.many,
        median(plain), median(ours), median(limits),
        median([p / o for p, o in zip(plain, ours, strict=True)]),
        median([b / o for b, o in zip(limits, ours, strict=True)]),
        apart, len(turns),
    )  # fmt: skip


def _rates(turn: Turn, probes: Probes) -> dict[str, float]:
    return {name: probe.amount / turn[name] for name, probe in probes.items() if name in turn}


def overall_rates(probes: Probes, budget: Budget, clock: Clock = synchronised) -> dict[str, float]:
    """Return the amount a second of each probe, medians over turns."""
    turns = by_turns({name: probe.run for name, probe in probes.items()}, budget, clock)
    return {
        name: median([probe.amount / turn[name] for turn in turns])
        for name, probe in probes.items()
    }
