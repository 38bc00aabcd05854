from __future__ import annotations

import math

import numpy as np
import pytest

from reclip.evaluate.preference import (
    Pair,
    asymmetry,
    drop,
    ring_miou,
    slope,
    total_variation,
    worst_pairs,
)

PERFECT = np.diag([10, 30, 60])
SWALLOWED = np.array([[10, 0, 0], [15, 15, 0], [0, 0, 60]])
"""Half of class 1 is taken for class 0."""


def test_shares_that_are_right_are_not_off() -> None:
    assert total_variation(PERFECT) == 0
    mixed_up = np.array([[0, 10, 0], [10, 20, 0], [0, 0, 60]])  # the masks are wrong, shares right
    assert total_variation(mixed_up) == 0
    assert total_variation(SWALLOWED) == pytest.approx(15)
    assert total_variation(np.array([[0, 50], [0, 50]])) == pytest.approx(50)
    assert math.isnan(total_variation(np.zeros((3, 3), int)))


def test_confusions_in_one_direction_are_asymmetric() -> None:
    assert asymmetry(PERFECT) == 0
    assert asymmetry(SWALLOWED) == pytest.approx(50 / 3)
    both = np.array([[5, 5, 0], [15, 15, 0], [0, 0, 60]])
    assert asymmetry(both) == pytest.approx(0)
    # The class without pixels is no class here; what is taken for it has no reverse.
    absent = np.array([[10, 0, 10], [10, 30, 0], [0, 0, 0]])
    assert asymmetry(absent) == pytest.approx(25 / 2)


def test_measures_have_a_value_a_seed() -> None:
    both = np.stack([PERFECT, SWALLOWED])
    np.testing.assert_allclose(total_variation(both), [0, 15])
    np.testing.assert_allclose(asymmetry(both), [0, 50 / 3])


def test_the_worst_pairs_come_first() -> None:
    first = np.array([[6, 4, 0], [0, 10, 0], [1, 0, 9]])
    second = np.array([[8, 2, 0], [1, 9, 0], [9, 0, 1]])
    pairs = worst_pairs(np.stack([first, second]), 5)
    assert [(p.loser, p.winner) for p in pairs] == [(2, 0), (0, 1)]
    assert pairs[1] == Pair(0, 1, pytest.approx(30), pytest.approx(5))
    assert worst_pairs(np.stack([first, second]), 1) == pairs[:1]
    assert worst_pairs(PERFECT[None], 5) == []


def rings(*of_rings: tuple[list[int], list[int], list[int]]) -> np.ndarray:
    """Counts (B, 3, C) from right, predicted and labelled pixels."""
    return np.array(of_rings)


STEADY = rings(*[([8, 5], [10, 10], [10, 10])] * 4)
FALLING = rings(*[([k, k], [10, 10], [10, 10]) for k in (8, 6, 4, 2)])


def test_mean_is_over_the_classes_labelled_in_the_ring() -> None:
    np.testing.assert_allclose(ring_miou(STEADY), 100 * (8 / 12 + 5 / 15) / 2)
    some = rings(([5, 0], [5, 5], [10, 0]), ([0, 0], [0, 0], [0, 0]))
    np.testing.assert_allclose(ring_miou(some), [50, math.nan])


def test_slope_and_drop_of_masks_that_are_equally_good_everywhere_are_0() -> None:
    assert slope(STEADY) == pytest.approx(0)
    assert drop(STEADY) == 0


def test_slope_and_drop_of_masks_that_get_worse_outside() -> None:
    near, far = 100 * 8 / 12, 100 * 2 / 18
    assert drop(FALLING) == pytest.approx(near - far)
    middles = np.array([0.125, 0.375, 0.625, 0.875])
    line = np.polyfit(middles, ring_miou(FALLING), 1)
    assert slope(FALLING) == pytest.approx(line[0])
    # A ring counts as often as it has labelled pixels.
    heavy = FALLING * np.array([1, 4, 1, 25])[:, None, None]
    line = np.polyfit(middles, ring_miou(heavy), 1, w=np.sqrt([1, 4, 1, 25]))
    assert slope(heavy) == pytest.approx(line[0])
    both = np.stack([STEADY, FALLING])
    np.testing.assert_allclose(drop(both), [0, near - far])
    np.testing.assert_allclose(slope(both), [0, slope(FALLING)], atol=1e-12)


def test_the_drop_compares_the_same_classes_near_and_far() -> None:
    counts = FALLING.copy()
    counts[0, :, 1] = 0  # class 1 is not near the centre
    assert drop(counts) == pytest.approx(100 * (8 / 12 - 2 / 18))
    counts[3, :, 0] = 0
    assert math.isnan(drop(counts))


@pytest.mark.parametrize(("bins", "outer"), [(2, 1), (3, 1), (5, 1), (8, 2), (10, 2)])
def test_the_drop_is_of_whole_rings(bins: int, outer: int) -> None:
    counts = np.tile(np.array([[4], [10], [10]]), (bins, 1, 1))
    counts[:outer, 0] = 10
    counts[bins - outer :, 0] = 0
    assert drop(counts) == pytest.approx(100)


def test_a_data_set_without_labels_has_no_value() -> None:
    empty = np.zeros((4, 3, 2), int)
    assert np.isnan(ring_miou(empty)).all()
    assert math.isnan(slope(empty)) and math.isnan(drop(empty))
