"""Whether the paper's order of two rows holds here: from differences seed by seed."""

from __future__ import annotations

import pytest

from reclip.evaluate.verdicts import (
    HOLDS,
    REVERSED,
    UNDECIDED,
    Measured,
    counted,
    counts,
    difference,
    interval,
    pairs,
    points,
    sentences,
)

LOW, HIGH = {0: 10.0, 1: 20.0, 2: 30.0}, {0: 13.0, 1: 24.0, 2: 33.0}  # 3, 4, 3 apart


def row(run: str, paper: float, values: dict, dataset: str = "voc", table: str = "table4"):
    return Measured(table, run.upper(), dataset, run, paper, values)


def test_rows_are_compared_seed_by_seed() -> None:
    """The means of the seeds overlap; their differences agree."""
    found = difference(HIGH, LOW)
    assert found.values == (3.0, 4.0, 3.0)
    assert found.mean == pytest.approx(10 / 3)
    assert (found.low, found.high) == pytest.approx((10 / 3 - 1.4342, 10 / 3 + 1.4342), abs=1e-3)
    assert found.verdict == HOLDS
    assert difference(dict(reversed(HIGH.items())), LOW) == found


def test_an_interval_below_zero_reverses_the_order() -> None:
    assert difference(LOW, HIGH).verdict == REVERSED


def test_an_interval_with_zero_in_it_decides_nothing() -> None:
    assert difference({0: 10.0, 1: 20.0}, {0: 11.0, 1: 18.0}).verdict == UNDECIDED
    assert difference(LOW, LOW).verdict == UNDECIDED


def test_one_seed_decides_nothing() -> None:
    found = difference({0: 50.0}, {0: 10.0, 1: 11.0})
    assert (found.values, found.mean, found.low, found.high) == ((40.0,), 40.0, None, None)
    assert (found.verdict, found.seeds) == (UNDECIDED, "one seed")


def test_seeds_that_differ_cannot_be_compared() -> None:
    found = difference({0: 50.0}, {1: 10.0})
    assert (found.mean, found.verdict, found.seeds) == (None, UNDECIDED, "no seed in common")


def test_the_query_has_no_seed_and_counts_for_each() -> None:
    assert difference(LOW, {None: 5.0}).values == (5.0, 15.0, 25.0)
    assert difference({None: 5.0}, LOW).values == (-5.0, -15.0, -25.0)


def test_what_is_not_trained_needs_no_seeds_for_a_verdict() -> None:
    found = difference({None: 6.0}, {None: 5.0})
    assert (found.verdict, found.low, found.high) == (HOLDS, 1.0, 1.0)
    assert difference({None: 5.0}, {None: 6.0}).verdict == REVERSED
    assert difference({None: 5.0}, {None: 5.0}).verdict == UNDECIDED


def test_pairs_are_the_rows_of_a_table_that_the_paper_orders() -> None:
    found = pairs([
        row("a", 10.0, LOW),
        row("b", 20.0, HIGH),
        row("equal", 10.0, HIGH),
        row("other", 5.0, LOW, dataset="ade"),
        row("elsewhere", 99.0, LOW, table="table2"),
    ])  # fmt: skip
    assert [(p.dataset, p.higher.run, p.lower.run) for p in found] == [
        ("voc", "b", "a"), ("voc", "b", "equal"),
    ]  # fmt: skip


def test_equal_values_of_the_paper_are_no_pair() -> None:
    assert pairs([row("a", 10.0, LOW), row("b", 10.0, HIGH)]) == []


def test_two_runs_in_several_tables_are_one_pair() -> None:
    tables = ("table2", "table4")
    found = pairs([
        row(run, paper, values, table=table)
        for table in tables
        for run, paper, values in (("a", 10.0, LOW), ("b", 20.0, HIGH))
    ])  # fmt: skip
    assert [pair.tables for pair in found] == [tables]
    assert found[0].found.values == (3.0, 4.0, 3.0)


def of(*differences: dict) -> list:
    """A pair for each mapping of seeds to differences; row B0 is higher in the paper than A0."""
    return [
        pair
        for k, values in enumerate(differences)
        for pair in pairs([
            row(f"a{k}", 10.0, dict.fromkeys(values, 0.0)), row(f"b{k}", 20.0, values)
        ])
    ]  # fmt: skip


SURE, TURNED, OPEN = {0: 2.0, 1: 2.2}, {0: -2.0, 1: -2.2}, {0: 1.0, 1: -1.0}


def test_the_count_is_one_sentence() -> None:
    found = of(SURE, SURE, TURNED, OPEN)
    assert counts(found) == {HOLDS: 2, REVERSED: 1, UNDECIDED: 1}
    assert counted(found) == (
        "Of 4 pairs that the paper orders, 2 hold, 1 is reversed and 1 is undecided."
    )
    assert counted(of(SURE)).startswith("Of 1 pair that the paper orders, 1 holds, 0 are reversed")


def test_a_table_names_the_pairs_that_do_not_hold_with_their_intervals() -> None:
    first, turned, open_ = sentences(of(SURE, TURNED, OPEN, {0: 3.0}), "mini")
    assert first.startswith(
        "Of 4 pairs that the paper orders, 1 holds, 1 is reversed and 2 are undecided."
    )
    assert turned == "Reversed: voc: B1 over A1 -2.1 (-3.4 to -0.8)."
    assert open_ == "Undecided: voc: B2 over A2 0.0 (-12.7 to 12.7), B3 over A3 3.0 (one seed)."
    assert len(sentences(of(SURE), "mini")) == 1


def test_on_one_seed_a_table_gives_no_verdict() -> None:
    (said,) = sentences(of({0: 3.0}, {0: -3.0}, {0: 1.0}), "mini")
    assert said == (
        "Of 3 pairs that the paper orders, 2 come in its order here, on one seed: not a verdict. "
        "`snakemake mini_check` gives one (setting `check`)."
    )
    assert sentences([], "mini") == ["No two measured rows to put in order."]


def test_a_tie_is_not_in_the_papers_order() -> None:
    assert "0 come in its order" in sentences(of({0: 0.0}), "mini")[0]


def test_numbers_have_no_minus_before_zero() -> None:
    assert points(-0.04) == "0.0" and points(-0.06) == "-0.1"
    assert interval(difference({0: 1.0}, {0: 0.0})) == "–"
