"""Reading cached features: the right rows, and memory that does not grow with the photos."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from reclip.clip.feature_cache import OPEN_SHARDS, FeatureCache, unit_features
from reclip.common.errors import ReclipError
from reclip.config.models import ViewSettings
from reclip.data.index import Item
from support.fake_cache import write_cache

VIEWS = ViewSettings(count=2, crop=16)
DIM = 64


def cache_of(folder: Path, photos: int, photos_a_shard: int) -> FeatureCache:
    items = [Item(f"photo-{i:06d}", Path(f"{i}.png"), 8 + 8 * (i % 3), 16) for i in range(photos)]
    write_cache(folder, {"train": items}, dim=DIM, views=VIEWS, photos_a_shard=photos_a_shard)
    return FeatureCache(folder)


def read_all(features: FeatureCache) -> None:
    photos = len(features.ids("train"))
    order = np.random.default_rng(1).permutation(photos)
    for rows in np.array_split(order, photos // 8):
        features.view_batch(1, np.sort(rows))
        for i in rows:
            features.pieces("train", int(i))


def test_a_batch_has_the_rows_asked_for_of_any_shards(tmp_path: Path) -> None:
    features = cache_of(tmp_path, 7, 3)
    views = [np.load(path) for path in sorted(tmp_path.rglob("views.npy"))]
    assert [array.shape[:2] for array in views] == [(2, 3), (2, 3), (2, 1)]
    together = np.concatenate(views, axis=1)
    rows = np.array([6, 0, 5, 0])
    for number in range(2):
        z, valid = features.view_batch(number, rows)
        assert torch.equal(z, unit_features(together[number, rows]))
        assert valid.shape == (4, 2, 2) and valid.all()


def test_reading_takes_no_more_memory_for_more_photos(tmp_path: Path) -> None:
    peaks = []
    for photos in (256, 2048):
        features = cache_of(tmp_path / str(photos), photos, photos_a_shard=128)
        read_all(features)  # what is imported and opened once
        tracemalloc.start()
        read_all(FeatureCache(features.folder))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The order here, the places of the rows in the list, and no features, which have over 1.5 kB.
    assert (peaks[1] - peaks[0]) / (2048 - 256) < 100 < DIM * 2 * (2 * 4 + 4) / 10


def test_files_of_a_few_shards_are_open_and_none_is_mapped(tmp_path: Path) -> None:
    features = cache_of(tmp_path, 3 * OPEN_SHARDS, photos_a_shard=1)
    read_all(features)
    process = psutil.Process()
    ours = [file for file in process.open_files() if file.path.startswith(str(tmp_path.resolve()))]
    assert 0 < len(ours) <= 2 * OPEN_SHARDS + 1  # tokens and views of each, and the list of photos
    if sys.platform.startswith("linux"):
        maps = Path("/proc/self/maps").read_text(encoding="utf-8")
        assert str(tmp_path.resolve()) not in maps


@pytest.mark.parametrize("name", ["views.npy", "tokens.npy", "cells.npy"])
def test_a_file_cut_short_is_one_sentence(tmp_path: Path, name: str) -> None:
    features = cache_of(tmp_path, 2, 2)
    (path,) = tmp_path.rglob(name)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ReclipError, match=f"{name}' is damaged: run its stage again"):
        features.view_batch(1, np.array([1]))
        features.pieces("train", 1)
