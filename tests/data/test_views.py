"""Views are the same for photo and mask, in every process and order of calls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reclip.config.models import ImageSettings, ViewSettings
from reclip.data.reading import MEAN_STD, resize_image, resized_size, whole_size
from reclip.data.views import (
    View,
    crop_image,
    crop_label,
    distort,
    draw_view,
    normalise,
    pad_to,
    resize_label,
)

OWN_SIZE = ImageSettings()
GEOMETRY = ViewSettings(crop=24, scale=(0.5, 2.0), photometric=False)


def scene(height: int = 30, width: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return four quadrants of different colours, and their label."""
    label = np.zeros((height, width), np.uint8)
    label[height // 2 :] += 1
    label[:, width // 2 :] += 2
    return (label[..., None] * np.array([60, 30, 80])).astype(np.uint8), label


def test_a_view_depends_on_seed_number_and_id_alone() -> None:
    ids = ["a", "b", "c"]
    forwards = {(i, v): draw_view(i, 30, 40, v, GEOMETRY, OWN_SIZE) for i in ids for v in (0, 1)}
    backwards = {
        (i, v): draw_view(i, 30, 40, v, GEOMETRY, OWN_SIZE) for v in (1, 0) for i in reversed(ids)
    }
    assert forwards == backwards
    assert len(set(forwards.values())) == 6  # each view of each image is another
    other = GEOMETRY.model_copy(update={"seed": 1})
    assert draw_view("a", 30, 40, 0, other, OWN_SIZE) != forwards["a", 0]


def test_colours_leave_the_geometry_alone() -> None:
    coloured = GEOMETRY.model_copy(update={"photometric": True})
    for number in range(20):
        plain = draw_view("a", 30, 40, number, GEOMETRY, OWN_SIZE)
        view = draw_view("a", 30, 40, number, coloured, OWN_SIZE)
        assert plain.colour is None and view.colour is not None
        assert (view.size, view.top, view.left, view.flip) == (
            plain.size, plain.top, plain.left, plain.flip,
        )  # fmt: skip
        assert -32 <= view.colour[0] <= 32 and min(view.colour[1:3]) >= 0.5


def test_views_fill_their_ranges() -> None:
    views = [draw_view("a", 30, 40, n, GEOMETRY, OWN_SIZE) for n in range(300)]
    ratios = [view.size[0] / 30 for view in views]
    assert 0.45 < min(ratios) < 0.6 and 1.9 < max(ratios) < 2.05
    assert 0.4 < np.mean([view.flip for view in views]) < 0.6
    for view in views:
        assert (view.height, view.width) == (min(24, view.size[0]), min(24, view.size[1]))
        assert 0 <= view.top <= view.size[0] - view.height
        assert 0 <= view.left <= view.size[1] - view.width
    assert {view.top == 0 for view in views} == {True, False}


@pytest.mark.parametrize(("flip", "expected"), [(0.0, {False}), (1.0, {True})])
def test_flips_as_often_as_asked(flip: float, expected: set) -> None:
    settings = GEOMETRY.model_copy(update={"flip": flip})
    assert {draw_view("a", 9, 9, n, settings, OWN_SIZE).flip for n in range(30)} == expected


@pytest.mark.parametrize("number", range(12))
def test_photo_and_mask_stay_aligned(number: int) -> None:
    image, label = scene()
    view = draw_view("a", *label.shape, number, GEOMETRY, OWN_SIZE)
    photo, mask = crop_image(image, view), crop_label(label, view)
    assert photo.shape == (view.height, view.width, 3) and mask.shape == photo.shape[:2]
    wanted = mask[..., None] * np.array([60, 30, 80])
    off = np.abs(photo.astype(int) - wanted).max(2) > 0
    # Only a border, up to two pixels on each side of it, is a mixture of two classes.
    border = np.zeros_like(off)
    edges = [(mask[1:] != mask[:-1], 0), (mask[:, 1:] != mask[:, :-1], 1)]
    for edge, axis in edges:
        line = np.flatnonzero(edge.any(1 - axis))
        for k in line:
            near = slice(max(0, k - 1), k + 3)
            border[(near, slice(None)) if axis == 0 else (slice(None), near)] = True
    assert not (off & ~border).any()


def test_a_flip_mirrors_the_cut_and_not_the_photo() -> None:
    image, label = scene(4, 6)
    view = View(size=(4, 6), top=1, left=2, height=3, width=4, flip=True, colour=None)
    assert (crop_image(image, view) == image[1:4, 2:6][:, ::-1]).all()
    assert (crop_label(label, view) == label[1:4, 2:6][:, ::-1]).all()


def test_ignored_pixels_stay_ignored() -> None:
    label = np.full((10, 10), 255, np.uint8)
    label[:5] = 19
    view = View((17, 13), 0, 0, 17, 13, flip=False, colour=None)
    assert set(np.unique(crop_label(label, view))) == {19, 255}


def bilinear(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize pixel by pixel: centres at half, edges repeated, no antialiasing."""
    out = np.zeros((*size, 3))
    for y in range(size[0]):
        for x in range(size[1]):
            sy = np.clip((y + 0.5) * image.shape[0] / size[0] - 0.5, 0, image.shape[0] - 1)
            sx = np.clip((x + 0.5) * image.shape[1] / size[1] - 0.5, 0, image.shape[1] - 1)
            y0, x0 = int(sy), int(sx)
            y1, x1 = min(y0 + 1, image.shape[0] - 1), min(x0 + 1, image.shape[1] - 1)
            wy, wx = sy - y0, sx - x0
            upper = (1 - wx) * image[y0, x0] + wx * image[y0, x1]
            lower = (1 - wx) * image[y1, x0] + wx * image[y1, x1]
            out[y, x] = (1 - wy) * upper + wy * lower
    return out


@pytest.mark.parametrize("size", [(14, 18), (4, 5), (7, 3), (1, 1), (7, 9)])
def test_resize_is_bilinear_without_antialiasing(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    resized = resize_image(image, size)
    assert resized.dtype == np.uint8 and resized.shape == (*size, 3)
    assert np.abs(resized - bilinear(image, size)).max() <= 1  # fixed point, as OpenCV


@pytest.mark.parametrize("size", [(14, 18), (4, 5), (10, 3)])
def test_labels_take_the_nearest_pixel(size: tuple[int, int]) -> None:
    label = np.random.default_rng(0).integers(0, 21, (7, 9), np.uint8)
    rows = ((np.arange(size[0]) + 0.5) * 7 / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * 9 / size[1]).astype(int)
    assert (resize_label(label, size) == label[rows][:, columns]).all()


@pytest.mark.parametrize(
    ("photo", "bounds", "expected"),
    [
        ((300, 500), (512, 2048), (512, 853)),
        ((500, 300), (512, 2048), (853, 512)),
        ((100, 1000), (512, 2048), (205, 2048)),  # the long side binds
        ((1, 9000), (512, 2048), (1, 2048)),
    ],
)
def test_sizes_keep_the_aspect_ratio(photo, bounds, expected) -> None:
    assert resized_size(*photo, *bounds) == expected
    assert whole_size(*photo, ImageSettings(short_side=bounds[0])) == expected
    assert whole_size(*photo, OWN_SIZE) == photo


def test_padding_lies_right_and_below() -> None:
    padded = pad_to(torch.ones(2, 3, 4), 5, 6, value=7.0)
    assert padded.shape == (2, 5, 6)
    assert (padded[:, :3, :4] == 1).all()
    assert (padded[:, 3:] == 7).all() and (padded[:, :, 4:] == 7).all()


@pytest.mark.parametrize("norm", MEAN_STD)
def test_normalisation(norm: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    mean, std = map(np.array, MEAN_STD[norm])
    expected = ((image - mean) / std).transpose(2, 0, 1)
    assert np.allclose(normalise(image, norm).numpy(), expected, atol=1e-5)


NOISE = np.random.default_rng(1).integers(0, 256, (8, 9, 3), np.uint8)


def test_neutral_colours_change_nothing() -> None:
    assert (distort(NOISE, (0.0, 1.0, 1.0, 0.0)) == NOISE).all()
    assert np.abs(distort(NOISE, (0.0, 1.0, 1.0, 180.0)).astype(int) - NOISE).max() <= 1  # a turn


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((20.0, 1.0, 1.0, 0.0), (120, 90, 60)),
        ((200.0, 1.0, 1.0, 0.0), (255, 255, 240)),
        ((0.0, 1.5, 1.0, 0.0), (150, 105, 60)),
        ((0.0, 1.0, 0.5, 0.0), (100, 85, 70)),  # half as far from the brightest channel
        ((0.0, 1.0, 0.0, 0.0), (100, 100, 100)),
        ((0.0, 1.0, 1.0, 60.0), (40, 100, 70)),  # a third of a turn: red to green to blue
    ],
)
def test_colours(colour, expected) -> None:
    image = np.array([[[100, 70, 40]]], np.uint8)
    assert np.abs(distort(image, colour)[0, 0].astype(int) - expected).max() <= 1


def test_a_view_with_colours_is_its_crop_distorted() -> None:
    colour = (10.0, 1.2, 0.7, 9.0)
    plain = View((8, 9), 1, 1, 5, 6, flip=True, colour=None)
    assert (
        crop_image(NOISE, View(**{**vars(plain), "colour": colour}))
        == distort(crop_image(NOISE, plain), colour)
    ).all()
