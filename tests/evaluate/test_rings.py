from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED
from reclip.evaluate.metrics import ConfusionMatrix
from reclip.evaluate.rings import Rings, ring_map


def by_pixel(pred: np.ndarray, label: np.ndarray, classes: int, rings: int) -> np.ndarray:
    """The counts, pixel after pixel, from the definition."""
    counts = np.zeros((rings, 3, classes), np.int64)
    height, width = label.shape
    for (y, x), truth in np.ndenumerate(label):
        if truth == IGNORED:
            continue
        offset = math.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
        ring = int(rings * offset / (math.hypot(height, width) / 2))
        counts[ring, 0, truth] += pred[y, x] == truth
        counts[ring, 1, pred[y, x]] += 1
        counts[ring, 2, truth] += 1
    return counts


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (14, 11), (23, 40)])
@pytest.mark.parametrize(("classes", "rings"), [(4, 8), (150, 5)])
def test_counts_are_those_of_the_definition(
    shape: tuple[int, int], classes: int, rings: int
) -> None:
    rng = np.random.default_rng(0)
    ours, confusion = Rings(classes, rings), ConfusionMatrix(classes)
    expected = np.zeros((rings, 3, classes), np.int64)
    for size in (shape, shape, shape[::-1]):  # the map of rings is kept for photos of one size
        label = rng.integers(0, classes, size).astype(np.uint8)
        pred = np.where(rng.random(size) < 0.5, label, rng.integers(0, classes, size))
        label[rng.random(size) < 0.2] = IGNORED
        ours.update(torch.from_numpy(pred.astype(np.int16)), label)
        confusion.update(pred, label)
        expected += by_pixel(pred, label, classes, rings)
    assert ours.counts.dtype == np.int64
    np.testing.assert_array_equal(ours.counts, expected)
    matrix = confusion.matrix
    everywhere = ours.counts.sum(axis=0)
    np.testing.assert_array_equal(everywhere, [matrix.diagonal(), matrix.sum(0), matrix.sum(1)])


def test_a_ring_begins_where_its_distance_does() -> None:
    # The half diagonal of 3 x 4 pixels is 2.5. Offsets of 0.5 and 1.5 and of 0 and 1 give
    # distances of 0.2 and 0.6 in the middle row, 0.447 and 0.721 in the others.
    found = ring_map(3, 4, 5, torch.device("cpu"))
    assert found.tolist() == [[3, 2, 2, 3], [3, 1, 1, 3], [3, 2, 2, 3]]


def test_the_largest_photos_do_not_overflow() -> None:
    rings = ring_map(1, 60_000, 8, torch.device("cpu"))
    assert rings[0, [0, 30_000, -1]].tolist() == [7, 0, 7]
    assert (rings.flip(1) == rings).all()


def test_a_photo_without_labels_counts_nothing() -> None:
    rings = Rings(3, 4)
    rings.update(np.zeros((2, 2), int), np.full((2, 2), IGNORED))
    assert rings.counts.sum() == 0


def test_wrong_ids_are_named() -> None:
    with pytest.raises(ReclipError, match="0001.png"):
        Rings(2, 4).update(np.zeros((1, 1), int), np.full((1, 1), 2), "0001.png")
