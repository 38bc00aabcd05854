"""All counts of a data set are those of their definitions, photo by photo and class by class."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED
from reclip.evaluate.counts import Counts
from reclip.evaluate.location import centre_distance
from support.plain_counts import PlainCounts


def photo(
    rng: np.random.Generator, classes: int, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a prediction and a label map with a few blocks of classes and ignored pixels."""
    blocks = rng.integers(0, classes, (3, 4))
    rows, columns = (np.arange(n) * k // n for n, k in zip(size, blocks.shape, strict=True))
    label = blocks[rows][:, columns].astype(np.uint8)
    pred = np.where(rng.random(size) < 0.5, label, rng.integers(0, classes, size))
    label[rng.random(size) < 0.2] = IGNORED
    return pred.astype(np.int16), label


def assert_equal(ours: Counts, plain: PlainCounts) -> None:
    assert ours.confusion.dtype == ours.rings.dtype == np.int64
    np.testing.assert_array_equal(ours.confusion, plain.confusion)
    np.testing.assert_array_equal(ours.rings, plain.rings)
    np.testing.assert_array_equal(ours.distances.counts, plain.objects)
    np.testing.assert_array_equal(ours.distances._intersection, plain.intersection)
    np.testing.assert_array_equal(ours.distances._union, plain.union)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (14, 11), (23, 40)])
@pytest.mark.parametrize(("classes", "rings"), [(1, 3), (4, 8), (20, 1), (150, 5)])
def test_counts_are_those_of_the_definition(
    shape: tuple[int, int], classes: int, rings: int
) -> None:
    rng = np.random.default_rng(0)
    ours, plain = Counts(classes, rings), PlainCounts(classes, rings)
    for size in (shape, shape, shape[::-1]):  # the places of pixels are kept for photos of one size
        pred, label = photo(rng, classes, size)
        ours.update(torch.from_numpy(pred), label)
        plain.update(pred, label)
        assert_equal(ours, plain)
    matrix = ours.confusion
    everywhere = ours.rings.sum(axis=0)
    np.testing.assert_array_equal(everywhere, [matrix.diagonal(), matrix.sum(0), matrix.sum(1)])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integers_are_counted_and_kept(dtype: torch.dtype) -> None:
    maps = photo(np.random.default_rng(0), 6, (23, 17))
    ours, plain = Counts(6, 4), PlainCounts(6, 4)
    given = [torch.from_numpy(ids.astype(np.int64)).to(dtype) for ids in maps]
    before = [ids.clone() for ids in given]
    ours.update(*given)
    plain.update(*maps)
    assert all(map(torch.equal, given, before))
    assert_equal(ours, plain)


def test_objects_fall_into_the_bin_of_their_centroid() -> None:
    counts = Counts(3, 2)
    bins = counts.distances
    np.testing.assert_array_equal(bins.edges, [0, 0.5, 1])
    label = np.full((8, 8), IGNORED)
    label[3:5, 3:5] = 0  # centre
    label[:2, :2] = 1  # corner: distance 6 / 8
    pred = np.full((8, 8), 2)
    pred[3:5, 3:5] = 0
    pred[0, :2] = 1
    counts.update(torch.from_numpy(pred), label)
    np.testing.assert_array_equal(bins.counts, [1, 1])
    np.testing.assert_allclose(bins.miou_per_bin(), [1.0, 0.5])

    # Another class 0 object, all of it predicted as 1, which is not in the image.
    pred[3:5, 3:5] = 1
    counts.update(pred, np.where(label == 1, IGNORED, label))
    np.testing.assert_array_equal(bins.counts, [2, 1])
    np.testing.assert_allclose(bins.miou_per_bin(), [4 / 8, 0.5])


def test_false_positives_count_in_the_union_but_ignored_pixels_do_not() -> None:
    counts = Counts(2, 1)
    counts.update(np.array([[0, 0, 0, 0]]), np.array([[0, 0, 1, IGNORED]]))
    np.testing.assert_allclose(counts.distances.miou_per_bin(), [(2 / 3 + 0) / 2])


def test_mean_is_over_classes_with_an_object_in_the_bin() -> None:
    counts = Counts(10, 4)
    counts.update(np.zeros((5, 5), int), np.zeros((5, 5), int))
    expected = [1, math.nan, math.nan, math.nan]
    np.testing.assert_array_equal(counts.distances.miou_per_bin(), expected)


def test_the_centroid_of_a_frame_is_in_its_hole() -> None:
    counts = Counts(2, 3)
    label = np.zeros((60, 80), int)
    label[20:40, 30:50] = 1
    counts.update(label, label)
    assert counts.distances.counts.tolist() == [2, 0, 0]
    assert centre_distance(29.5, 39.5, (60, 80)) == 0


def test_a_photo_without_labels_counts_nothing() -> None:
    counts = Counts(3, 4)
    counts.update(np.zeros((2, 2), int), np.full((2, 2), IGNORED))
    assert counts.confusion.sum() == counts.rings.sum() == counts.distances.counts.sum() == 0


@pytest.mark.parametrize(
    ("pred", "label", "message"),
    [
        ([[0, 1]], [[0, 3]], "label map 2007_000032.png holds ids 0 to 3, but there are 3"),
        ([[0, 3]], [[0, 1]], "prediction for 2007_000032.png holds ids 0 to 3"),
        ([[0, -1]], [[0, 1]], "prediction for 2007_000032.png holds ids -1 to 0"),
        ([[0, 1]], [[-1, 1]], "holds ids -1 to 1"),
        ([[0, 1]], [[IGNORED, 300]], "holds ids 300 to 300"),
        ([[0, 1]], [[0], [1]], "2007_000032.png is 2 x 1 but its prediction is 1 x 2"),
    ],
)
def test_wrong_maps_are_named(pred: list, label: list, message: str) -> None:
    counts = Counts(3, 2)
    with pytest.raises(ReclipError, match=message):
        counts.update(np.array(pred), np.array(label), "2007_000032.png")
    assert counts.confusion.sum() == counts.rings.sum() == counts.distances.counts.sum() == 0
