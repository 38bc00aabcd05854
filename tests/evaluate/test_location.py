from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reclip.common.errors import ReclipError
from reclip.evaluate.location import DistanceBins, centre_distance


def test_distance_runs_from_the_centre_to_a_corner() -> None:
    region = np.zeros((60, 80), dtype=bool)
    region[20:40, 30:50] = True
    assert centre_distance(region) == 0
    corner = np.zeros((60, 80), dtype=bool)
    corner[0, 0] = True
    assert centre_distance(corner) == pytest.approx(math.hypot(29.5, 39.5) / 50)
    # A ring's centroid is in the middle of its hole.
    assert centre_distance(~region) == pytest.approx(0, abs=1e-12)


def test_objects_fall_into_the_bin_of_their_centroid() -> None:
    bins = DistanceBins(num_classes=3, bins=2)
    np.testing.assert_array_equal(bins.edges, [0, 0.5, 1])
    label = np.full((8, 8), 255)
    label[3:5, 3:5] = 0  # centre
    label[:2, :2] = 1  # corner: distance 6 / 8
    pred = np.full((8, 8), 2)
    pred[3:5, 3:5] = 0
    pred[0, :2] = 1
    bins.update(torch.from_numpy(pred), label)
    np.testing.assert_array_equal(bins.counts, [1, 1])
    np.testing.assert_allclose(bins.miou_per_bin(), [1.0, 0.5])

    # Another class 0 object, all of it predicted as 1, which is not in the image.
    pred[3:5, 3:5] = 1
    bins.update(pred, np.where(label == 1, 255, label))
    np.testing.assert_array_equal(bins.counts, [2, 1])
    np.testing.assert_allclose(bins.miou_per_bin(), [4 / 8, 0.5])


def test_false_positives_count_in_the_union_but_ignored_pixels_do_not() -> None:
    bins = DistanceBins(num_classes=2, bins=1)
    label = np.array([[0, 0, 1, 255]])
    bins.update(np.array([[0, 0, 0, 0]]), label)
    np.testing.assert_allclose(bins.miou_per_bin(), [(2 / 3 + 0) / 2])


def test_mean_is_over_classes_with_an_object_in_the_bin() -> None:
    bins = DistanceBins(num_classes=10, bins=4)
    bins.update(np.zeros((5, 5), int), np.zeros((5, 5), int))
    np.testing.assert_array_equal(bins.miou_per_bin(), [1, math.nan, math.nan, math.nan])


def test_wrong_ids_are_named() -> None:
    with pytest.raises(ReclipError, match="0001.png"):
        DistanceBins(2).update(np.zeros((1, 1), int), np.full((1, 1), 2), "0001.png")
