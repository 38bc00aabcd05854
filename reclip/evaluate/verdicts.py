"""Does the paper's order of two rows hold here? Verdicts from differences seed by seed.

For each pair of rows that the paper orders, the difference is that of the row that is higher in the
paper minus the other, in points of mIoU. The order *holds* if the 95% interval of the mean
difference is above 0. It is *reversed* if the interval is below 0, and *undecided* if it contains 0
or there is no interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby

from reclip.evaluate.statistics import summarise

HOLDS, REVERSED, UNDECIDED = "holds", "reversed", "undecided"

Values = Mapping[int | None, float]
"""A run's mIoU by seed; its only key is None if nothing of it is trained (method query)."""


@dataclass(frozen=True)
class Measured:
    """A measured row of a table on a dataset, with the paper's value (None: it has none)."""

    table: str
    row: str
    dataset: str
    run: str
    paper: float | None
    values: Values


@dataclass(frozen=True)
class Difference:
    """Differences between two runs, seed by seed, and the 95% interval of their mean.

    Without a seed in common there is no mean, and with one seed no interval. Two runs that train
    nothing have one difference, which no seed changes: it is its own interval.
    """

    values: tuple[float, ...]
    mean: float | None
    low: float | None
    high: float | None
    seeded: bool = True

    @property
    def verdict(self) -> str:
        if self.low is None or self.low <= 0 <= self.high:
            return UNDECIDED
        return HOLDS if self.low > 0 else REVERSED

    @property
    def lacks_seeds(self) -> bool:
        """Whether it has too few seeds for an interval."""
        return self.low is None

    @property
    def seeds(self) -> str:
        """The number of seeds in words."""
        if not self.seeded:
            return "no seeds"
        n = len(self.values)
        return {0: "no seed in common", 1: "one seed"}.get(n, f"{n} seeds")


@dataclass(frozen=True)
class Pair:
    """Two rows, the first of which should be higher, and the verdict on them.

    The paper orders them, or the settings ask (`over`).
    tables: all tables that order these runs so. The rows have their names of the first.
    """

    tables: tuple[str, ...]
    higher: Measured
    lower: Measured
    found: Difference

    @property
    def dataset(self) -> str:
        return self.higher.dataset

    @property
    def verdict(self) -> str:
        return self.found.verdict


def difference(higher: Values, lower: Values) -> Difference:
    """Return the differences of two runs for each seed that both have.

    A run without seeds has one value, which counts for every seed of the other.
    """
    if None in higher and None in lower:
        exact = higher[None] - lower[None]
        return Difference((exact,), exact, exact, exact, seeded=False)
    seeds = sorted({*higher, *lower} - {None})
    values = tuple(
        higher.get(seed, higher.get(None)) - lower.get(seed, lower.get(None))
        for seed in seeds
        if all(seed in run or None in run for run in (higher, lower))
    )
    if not values:
        return Difference((), None, None, None)
    found = summarise(values)
    return Difference(values, found["mean"], found["low"], found["high"])


def pairs(rows: Iterable[Measured]) -> list[Pair]:
    """Return the pairs of a table's rows on one dataset to which the paper gives other values.

    Two runs that several tables order alike are one pair. Pairs are in the order of their datasets
    in `rows`.
    """
    by_dataset: dict[str, list[Measured]] = {}
    for row in rows:
        by_dataset.setdefault(row.dataset, []).append(row)
    found: dict[tuple[str, str, str], Pair] = {}
    for a, b in (pair for of in by_dataset.values() for pair in combinations(of, 2)):
        if a.table != b.table or a.paper == b.paper:
            continue
        higher, lower = (a, b) if a.paper > b.paper else (b, a)
        key = a.dataset, higher.run, lower.run
        if key not in found:
            found[key] = Pair((a.table,), higher, lower, difference(higher.values, lower.values))
        elif a.table not in found[key].tables:
            found[key] = replace(found[key], tables=(*found[key].tables, a.table))
    return list(found.values())


def asked(rows: Iterable[Measured], over: Mapping[str, Sequence[str]]) -> list[Pair]:
    """Return the pairs of one table's rows that the settings ask about.

    over: row to the rows that it is compared with. Pairs are in the order of `rows`.
    """
    found = {(row.dataset, row.row): row for row in rows}
    return [
        Pair((row.table,), row, base, difference(row.values, base.values))
        for (dataset, name), row in found.items()
        for other in over.get(name, ())
        if (base := found.get((dataset, other)))
    ]


def counts(found: Sequence[Pair]) -> dict[str, int]:
    """Return the number of pairs of each verdict."""
    return {v: sum(p.verdict == v for p in found) for v in (HOLDS, REVERSED, UNDECIDED)}


def counted(found: Sequence[Pair]) -> str:
    """Return the verdicts in one sentence: `Of 18 pairs that the paper orders, 12 hold, ...`."""
    n = counts(found)
    hold = "holds" if n[HOLDS] == 1 else "hold"
    turned, open_ = ("is" if n[verdict] == 1 else "are" for verdict in (REVERSED, UNDECIDED))
    return (
        f"Of {_ordered(found)}, {n[HOLDS]} {hold}, {n[REVERSED]} {turned} reversed and "
        f"{n[UNDECIDED]} {open_} undecided."
    )


def _ordered(found: Sequence[Pair]) -> str:
    return f"{_number_of(found)} that the paper orders"


def sentences(found: Sequence[Pair], experiment: str) -> list[str]:
    """Return what a table says of its pairs: the verdicts, and each pair that does not hold.

    If no seed repeats, the sentence only says how many pairs come in the paper's order.
    """
    if not found:
        return ["No two measured rows to put in order."]
    seeded = [pair.found for pair in found if pair.found.seeded]
    if seeded and all(one.lacks_seeds for one in seeded):
        return [_on_one_seed(found, experiment)]
    said = [counted(found)]
    for verdict in (REVERSED, UNDECIDED):
        if named := [pair for pair in found if pair.verdict == verdict]:
            said.append(f"{verdict.capitalize()}: {_listed(named)}.")
    if len(said) > 1:
        said[0] += " Numbers are first minus second row in points of mIoU, with the 95% interval."
    return said


NAMES_OF_ASKED = {HOLDS: "better", REVERSED: "worse", UNDECIDED: "undecided"}
"""Verdicts on pairs that the settings ask about."""


def counted_asked(found: Sequence[Pair]) -> str:
    """Return these verdicts in one sentence: `Of 24 pairs, the first row is better in 12, ...`."""
    n = counts(found)
    open_ = "is" if n[UNDECIDED] == 1 else "are"
    return (
        f"Of {_number_of(found)}, the first row is better in {n[HOLDS]} and worse in "
        f"{n[REVERSED]}; {n[UNDECIDED]} {open_} undecided."
    )


def sentences_asked(found: Sequence[Pair], experiment: str) -> list[str]:
    """Return what a table says of the pairs that the settings ask about: each by its verdict."""
    seeded = [pair.found for pair in found if pair.found.seeded]
    if seeded and all(one.lacks_seeds for one in seeded):
        better = sum((pair.found.mean or 0) > 0 for pair in found)
        return [
            f"Of {_number_of(found)}, the first row is better in {better} here, on one seed: not a "
            f"verdict. `snakemake {experiment}_check` gives one (setting `check`)."
        ]
    said = [f"{counted_asked(found)} Numbers are differences in points, with the 95% interval."]
    for verdict, name in NAMES_OF_ASKED.items():
        if named := [pair for pair in found if pair.verdict == verdict]:
            said.append(f"{name.capitalize()}: {_listed(named)}.")
    return said


def _number_of(found: Sequence[Pair]) -> str:
    return f"{len(found)} pair{'s' * (len(found) != 1)}"


def _on_one_seed(found: Sequence[Pair], experiment: str) -> str:
    alike = sum((pair.found.mean or 0) > 0 for pair in found)
    return (
        f"Of {_ordered(found)}, {alike} {'comes' if alike == 1 else 'come'} in its order here, on "
        f"one seed: not a verdict. `snakemake {experiment}_check` gives one (setting `check`)."
    )


def _listed(found: Sequence[Pair]) -> str:
    """Return pairs by dataset: `voc: A over B -1.2 (-2.0 to -0.4), ...; ade: ...`."""
    return "; ".join(
        f"{dataset}: " + ", ".join(map(_named, of))
        for dataset, of in groupby(found, lambda pair: pair.dataset)
    )


def _named(pair: Pair) -> str:
    said = f"{pair.higher.row} over {pair.lower.row}"
    if pair.found.mean is not None:
        said += f" {points(pair.found.mean)}"
    return f"{said} ({pair.found.seeds if pair.found.lacks_seeds else interval(pair.found)})"


def interval(found: Difference, digits: int = 1) -> str:
    """Return the interval in words; a dash if there is none."""
    if found.low is None:
        return "–"
    return f"{points(found.low, digits)} to {points(found.high, digits)}"


def points(value: float, digits: int = 1) -> str:
    """Return points of mIoU as text, without a minus before zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"
