"""Resizing a cut alone gives the same pixels as cutting the whole resized image."""

from __future__ import annotations

import numpy as np
import pytest

from reclip.data.resize import resize_linear


@pytest.mark.parametrize(
    ("size", "target"),
    [((37, 50), (102, 136)), ((37, 50), (20, 27)), ((37, 50), (37, 50)), ((1, 1), (5, 9))],
)
def test_a_cut_is_the_same_as_cutting_the_whole(size, target) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    whole = resize_linear(image, *target)
    for rows, columns in (
        (slice(0, 1), slice(0, 1)),
        (slice(target[0] // 3, target[0]), slice(target[1] // 4, target[1] - 1)),
        (slice(None), slice(target[1] // 2, None)),
    ):
        cut = resize_linear(image, *target, rows, columns)
        np.testing.assert_array_equal(cut, whole[rows, columns])


def test_the_same_size_is_the_same_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    np.testing.assert_array_equal(resize_linear(image, 9, 11), image)
