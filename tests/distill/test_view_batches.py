"""What a student sees of a view: the photo and its mask, padded alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.config.models import ViewSettings
from reclip.data.images import IGNORED, write_image
from reclip.data.index import Item
from reclip.data.views import crop_image, crop_label, normalise
from reclip.distill.view_batches import ViewBatches
from support.fake_cache import write_cache

CROP = 24
VIEWS = ViewSettings(count=3, crop=CROP, scale=(0.5, 2.0))


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    made = []
    for k, size in enumerate([(20, 30), (14, 12), (40, 25)]):
        path = tmp_path / f"{k}.png"
        write_image(path, np.random.default_rng(k).integers(1, 256, (*size, 3), np.uint8))
        made.append(Item(f"photo-{k}", path, *size))
    return made


@pytest.fixture
def features(tmp_path: Path) -> FeatureCache:
    write_cache(tmp_path, {}, norm="imagenet", views=VIEWS)
    return FeatureCache(tmp_path)


def label_of(item: Item) -> np.ndarray:
    return np.arange(item.height * item.width).reshape(item.height, item.width).astype(
        np.uint8
    ) % np.uint8(20)


def test_a_batch_holds_the_views_in_the_order_asked(items, features) -> None:
    from PIL import Image

    batches = ViewBatches(items, features, label_of)
    images, labels = batches(1, np.array([2, 0, 1]))
    assert images.shape == (3, 3, CROP, CROP) and images.dtype == torch.float32
    assert labels.shape == (3, CROP, CROP) and labels.dtype == torch.int64
    for k, i in enumerate([2, 0, 1]):
        view = features.view(items[i], 1)
        photo = np.asarray(Image.open(items[i].image))
        expected = normalise(crop_image(photo, view), "imagenet")
        assert torch.equal(images[k, :, : view.height, : view.width], expected)
        mask = torch.from_numpy(crop_label(label_of(items[i]), view)).long()
        assert torch.equal(labels[k, : view.height, : view.width], mask)


def test_padding_is_zero_in_photos_and_ignored_in_masks(items, features) -> None:
    batches = ViewBatches(items, features, label_of)
    seen = False
    for number in range(3):
        images, labels = batches(number, np.array([0, 1, 2]))
        for k in range(3):
            view = features.view(items[k], number)
            inside = torch.zeros(CROP, CROP, dtype=torch.bool)
            inside[: view.height, : view.width] = True
            seen |= not bool(inside.all())
            assert (images[k][:, ~inside] == 0).all()
            assert (labels[k][~inside] == IGNORED).all() and (labels[k][inside] < 20).all()
    assert seen  # some view was smaller than the crop


def test_views_are_decoded_once(items, features) -> None:
    asked = []

    def labels(item: Item) -> np.ndarray:
        asked.append(item.id)
        return label_of(item)

    batches = ViewBatches(items, features, labels)
    first = batches(0, np.array([0, 1]))
    again = batches(0, np.array([1, 0]))
    assert asked == ["photo-0", "photo-1"]
    assert torch.equal(first[0].flip(0), again[0])
    batches(1, np.array([0]))
    assert len(asked) == 3  # another view is another crop


def test_a_photo_of_one_column_is_seen_like_any_other(tmp_path, features) -> None:
    """Of a single column numpy keeps a flip's negative stride, which torch refuses."""
    write_image(tmp_path / "line.png", np.full((40, 1, 3), 9, np.uint8))
    batches = ViewBatches([Item("line", tmp_path / "line.png", 40, 1)], features, label_of)
    found = [batches(number, np.array([0]))[1][0, :, 0] for number in range(3)]
    assert any(features.view(batches.items[0], number).flip for number in range(3))
    assert all((labels < 20).any() for labels in found)
