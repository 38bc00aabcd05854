"""A feature cache of given tokens, as stage `cache-features` writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from reclip.clip.feature_cache import IMAGE_COLUMNS, grid_of
from reclip.clip.shards import cut
from reclip.common.files import write_json
from reclip.common.npy import save_npy
from reclip.common.tables import write_table
from reclip.config.models import ImageSettings, ViewSettings
from reclip.data.index import Item

DIGEST = "0123456789abcdef"


def write_cache(
    folder: Path,
    items: Mapping[str, Sequence[Item]],
    *,
    patch: int = 8,
    dim: int = 6,
    norm: str = "clip",
    views: ViewSettings | None = None,
    photos_a_shard: int = 2,
) -> list[Path]:
    """Write random features of whole photos that are read at their own size; return the files.

    views: if given, the training photos have views without padding, too.
    """
    rng, written = np.random.default_rng(0), []

    def save(path: Path, *shape: int) -> None:
        save_npy(path, rng.standard_normal((*shape, dim)).astype(np.float16))
        written.append(path)

    for split in ("train", "val"):
        rows = []
        for shard in cut(split, len(items.get(split, ())), photos_a_shard):
            offset = 0
            for item in items[split][shard.start : shard.stop]:
                rows.append((item.id, item.height, item.width, offset))
                offset += math.prod(grid_of((item.height, item.width), patch))
            inside = folder / f"shards-{DIGEST}" / shard.name
            save(inside / "tokens.npy", offset)
            if views and split == "train":
                side = grid_of((views.crop, views.crop), patch)[0]
                count = views.count, shard.stop - shard.start
                save(inside / "views.npy", *count, side, side)
                save_npy(inside / "cells.npy", np.full((*count, 2), side, np.int16))
        written.append(folder / f"{split}.csv")
        write_table(written[-1], IMAGE_COLUMNS, rows)
    manifest = {
        "shards": f"shards-{DIGEST}",
        "photos_a_shard": {"train": photos_a_shard, "val": photos_a_shard},
        "dim": dim,
        "dtype": "float16",
        "patch": patch,
        "norm": norm,
        "view_settings": (views or ViewSettings()).model_dump(mode="json"),
        "image_settings": ImageSettings().model_dump(mode="json"),
    }
    write_json(folder / "manifest.json", manifest)
    return [*written, folder / "manifest.json"]
