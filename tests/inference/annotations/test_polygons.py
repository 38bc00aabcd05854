"""Polygons along the edges of pixels lose nothing, with holes, single pixels and thin lines."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from reclip.inference.annotations.polygons import outline


def filled(mask: np.ndarray) -> np.ndarray:
    """What pycocotools makes of the polygons."""
    polygons = outline(mask)
    if not polygons:
        return np.zeros_like(mask)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *mask.shape))) > 0


@pytest.mark.parametrize("seed", range(6))
def test_random_masks_come_back_pixel_by_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        mask = rng.random(rng.integers(1, 26, 2)) < rng.random()
        mask = np.kron(mask, np.ones(rng.integers(1, 4, 2), bool))
        assert (filled(mask) == mask).all(), mask.astype(int).tolist()


def test_one_polygon_of_corners_for_each_part_that_is_connected_by_sides() -> None:
    assert outline(np.ones((2, 3), bool)) == [[0, 0, 3, 0, 3, 2, 0, 2]]
    assert outline(np.eye(2, dtype=bool)) == [[0, 0, 1, 0, 1, 1, 0, 1], [1, 1, 2, 1, 2, 2, 1, 2]]
    assert outline(np.zeros((2, 3), bool)) == []


def test_a_hole_is_opened_by_a_line_of_no_width() -> None:
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    ((*polygon,),) = outline(ring)
    x, y = np.reshape(polygon, (-1, 2)).T
    assert len(x) == 10  # 4 corners outside, 4 inside, and the line's ends once more
    assert abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2 == 8  # the exact area


def test_rings_in_rings_come_back() -> None:
    rows, columns = np.indices((41, 57))
    rings = np.maximum(abs(rows - 20), abs(columns - 28)) % 4 < 2
    assert (filled(rings) == rings).all() and (filled(~rings) == ~rings).all()
