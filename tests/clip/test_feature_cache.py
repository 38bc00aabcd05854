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
from reclip.clip.shards import cut
from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_json
from reclip.common.npy import save_npy
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


def with_windows(folder: Path, counts: list[int], photos_a_shard: int) -> FeatureCache:
    """A cache with a number of windows for each photo; a window's feature is its number."""
    cache_of(folder, len(counts), photos_a_shard)
    manifest = read_json(folder / "manifest.json")
    manifest["hypothesis_windows"] = {"window": 8, "stride": 4}
    write_json(folder / "manifest.json", manifest)
    header, *rows = (folder / "train.csv").read_text().splitlines()
    rows = [f"{row},{count}" for row, count in zip(rows, counts, strict=True)]
    (folder / "train.csv").write_text("\n".join([f"{header},windows", *rows, ""]))
    numbers = np.arange(sum(counts), dtype=np.float32)[:, None].repeat(DIM, axis=1)
    photos = np.split(numbers, np.cumsum(counts)[:-1])
    for shard in cut("train", len(counts), photos_a_shard):
        (inside,) = folder.glob(f"shards-*/{shard.name}")
        save_npy(inside / "global.npy", np.concatenate(photos[shard.start : shard.stop]))
    return FeatureCache(folder)


def test_each_photo_has_its_own_windows_in_any_shard(tmp_path: Path) -> None:
    features = with_windows(tmp_path, [3, 1, 2, 5, 1], 2)
    found = [vectors[:, 0].tolist() for vectors in features.window_globals("train")]
    assert found == [[0, 1, 2], [3], [4, 5], [6, 7, 8, 9, 10], [11]]
    assert all(v.shape[1] == DIM and v.dtype == torch.float32
               for v in features.window_globals("train"))  # fmt: skip


def test_windows_are_not_taken_for_photos(tmp_path: Path) -> None:
    features = with_windows(tmp_path, [3, 1], 2)
    with pytest.raises(ReclipError, match=r"global.npy' is damaged: run its stage again"):
        list(features.globals("train"))


def test_windows_of_a_damaged_cache_are_one_sentence(tmp_path: Path) -> None:
    features = with_windows(tmp_path, [3, 1], 2)
    (path,) = tmp_path.rglob("global.npy")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ReclipError, match=r"global.npy' is damaged: run its stage again"):
        list(features.window_globals("train"))
    for count in ("-1", "many"):
        text = (tmp_path / "train.csv").read_text()
        (tmp_path / "train.csv").write_text(text.replace(",3\n", f",{count}\n"))
        with pytest.raises(ReclipError, match=r"train.csv' is damaged: run its stage again"):
            list(FeatureCache(tmp_path).window_globals("train"))
        (tmp_path / "train.csv").write_text(text)


@pytest.mark.parametrize("name", ["views.npy", "tokens.npy", "cells.npy"])
def test_a_file_cut_short_is_one_sentence(tmp_path: Path, name: str) -> None:
    features = cache_of(tmp_path, 2, 2)
    (path,) = tmp_path.rglob(name)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ReclipError, match=f"{name}' is damaged: run its stage again"):
        features.view_batch(1, np.array([1]))
        features.pieces("train", 1)
