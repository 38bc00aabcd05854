"""Measure a batch of cached views: read from shards, against a memory map of one array.

    python benchmarks/read_features.py [--folder DIR]

Both give the features of 16 random photos, as every step of rectification takes them, from the
system's file cache; the numbers are compared. The sizes are those of `mini` and, with fewer photos,
of ViT-B/16 at 512 pixels.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from reclip.clip.feature_cache import IMAGE_COLUMNS, FeatureCache, unit_features
from reclip.clip.shards import cut
from reclip.common.files import write_json
from reclip.common.npy import save_npy
from reclip.common.tables import write_table
from reclip.config.models import ImageSettings, ViewSettings

BATCH, EPOCHS = 16, 5


def write(folder: Path, views: np.ndarray, photos_a_shard: int, patch: int) -> FeatureCache:
    """Write views (1, N, h, w, D) without padding as a feature cache."""
    _, photos, side, _, dim = views.shape
    for shard in cut("train", photos, photos_a_shard):
        rows = views[:, shard.start : shard.stop]
        save_npy(folder / "shards" / shard.name / "views.npy", rows)
        cells = np.full((*rows.shape[:2], 2), side, np.int16)
        save_npy(folder / "shards" / shard.name / "cells.npy", cells)
    write_table(folder / "train.csv", IMAGE_COLUMNS, [])
    manifest = {
        "shards": "shards",
        "photos_a_shard": {"train": photos_a_shard},
        "dim": dim,
        "dtype": views.dtype.name,
        "patch": patch,
        "norm": "clip",
        "view_settings": ViewSettings(count=1, crop=side * patch).model_dump(mode="json"),
        "image_settings": ImageSettings().model_dump(mode="json"),
    }
    write_json(folder / "manifest.json", manifest)
    return FeatureCache(folder)


def by_map(
    one: np.ndarray, all_cells: np.ndarray, rows: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `FeatureCache.view_batch` returns, from a memory map of all views."""
    z = unit_features(np.array(one[0, rows]))
    cells = torch.from_numpy(all_cells[0, rows].astype(np.int64))
    height, width = (torch.arange(side) for side in z.shape[1:3])
    return z, (height[:, None] < cells[:, :1, None]) & (width < cells[:, 1:, None])


def seconds(read: Callable[[np.ndarray], object], rows: np.ndarray) -> float:
    began = time.perf_counter()
    read(rows)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="where to work; by default a folder that is removed")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    print("| views | shards | mapped, ms | from shards, ms | ratio |\n|---|---|---|---|---|")
    for photos, side, dim, shards in ((1000, 9, 64, 1), (1000, 9, 64, 20), (400, 32, 512, 2)):
        rng = np.random.default_rng(0)
        views = rng.standard_normal((1, photos, side, side, dim), np.float32).astype(np.float16)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            features = write(Path(scratch), views, photos // shards, 16)
            save_npy(Path(scratch) / "one.npy", views)
            one = np.load(Path(scratch) / "one.npy", mmap_mode="r")

            cells = np.full((1, photos, 2), side, np.int16)
            mapped, sharded = partial(by_map, one, cells), partial(features.view_batch, 0)

            times = []
            for epoch in range(EPOCHS):
                order = rng.permutation(photos)
                for start in range(0, photos, BATCH):
                    rows = np.sort(order[start : start + BATCH])
                    if not epoch:  # also fills the file cache
                        assert all(map(torch.equal, mapped(rows), sharded(rows)))
                    else:
                        times.append((seconds(mapped, rows), seconds(sharded, rows)))
        plain, ours = (1000 * statistics.median(column) for column in zip(*times, strict=True))
        size = f"{photos} of {side}×{side}×{dim}"
        print(f"| {size} | {shards} | {plain:.2f} | {ours:.2f} | {ours / plain:.2f} |")


if __name__ == "__main__":
    main()
