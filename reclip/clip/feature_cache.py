"""The cached features of a dataset on disk, and read access to them through memory maps.

train.npy, val.npy    (T, D): tokens image by image, and of each image window by window (one
                      window, the whole image, unless windows slide)
train-global.npy ...  fp32 (N, D): image-level features
views.npy             (V, N, h, w, D): augmented views of the training images
view-cells.npy        int16 (V, N, 2): rows and columns that hold image; the rest is padding
manifest.json         ids, offsets and sizes

Tokens have the precision `clip.cache_dtype`.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reclip.common.files import read_json, result
from reclip.config.models import ImageSettings, ViewSettings
from reclip.data.index import Item
from reclip.data.reading import Window, windows
from reclip.data.views import View, draw_view


def grid_of(size: tuple[int, int], patch: int) -> tuple[int, int]:
    """Return (h, w) in patches of a size in pixels; the last patches may reach over the edge."""
    return -(-size[0] // patch), -(-size[1] // patch)


def unit_features(tokens: np.ndarray) -> torch.Tensor:
    """Return tokens (..., D) of any precision as features float32 (..., D) of unit length."""
    return torch.nn.functional.normalize(torch.from_numpy(tokens).float(), dim=-1)


class FeatureCache:
    """Read access to the files that stage `cache-features` writes.

    Attributes:
        norm: normalisation of the photos, a key of MEAN_STD.
        patch, crop: sides of a patch and of a view in pixels.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        with result(folder / "manifest.json"):
            manifest = read_json(folder / "manifest.json")
        self.norm: str = manifest["norm"]
        self.patch: int = manifest["patch"]
        self.view_settings = ViewSettings(**manifest["view_settings"])
        self.image_settings = ImageSettings(**manifest["image_settings"])
        self.crop = self.view_settings.crop
        self._splits = manifest["splits"]

    def _load(self, name: str, **options: Any) -> np.ndarray:
        with result(self.folder / name):
            return np.load(self.folder / name, **options)

    @cached_property
    def _tokens(self) -> dict[str, np.ndarray]:
        return {split: self._load(f"{split}.npy", mmap_mode="r") for split in ("train", "val")}

    @cached_property
    def views(self) -> np.ndarray:
        """Tokens (V, N, h, w, D) of the views."""
        return self._load("views.npy", mmap_mode="r")

    @cached_property
    def view_cells(self) -> np.ndarray:
        """Rows and columns of each view that hold image, int16 (V, N, 2)."""
        return self._load("view-cells.npy")

    def view(self, item: Item, number: int) -> View:
        """Return the geometry and colour of a cached view."""
        return draw_view(
            item.id, item.height, item.width, number, self.view_settings, self.image_settings
        )

    def images(self, split: str) -> list[dict[str, Any]]:
        """Return for each image: `id`, `offset` of its first token, `size` (H, W) when read."""
        return self._splits[split]

    def size(self, split: str, i: int) -> tuple[int, int]:
        """Return (H, W) in pixels at which image i is read."""
        return tuple(self.images(split)[i]["size"])

    def pieces(self, split: str, i: int) -> list[tuple[Window, torch.Tensor]]:
        """Return the windows of image i, each with features float32 (h, w, D) of unit length."""
        offset, found = self.images(split)[i]["offset"], []
        for window in windows(self.size(split, i), self.image_settings):
            grid = grid_of(window[2:], self.patch)
            tokens = self._tokens[split][offset : offset + math.prod(grid)]
            found.append((window, unit_features(np.array(tokens)).view(*grid, -1)))
            offset += math.prod(grid)
        return found

    def globals(self, split: str) -> torch.Tensor:
        """Return image-level features float32 (N, D), not normalised."""
        return torch.from_numpy(self._load(f"{split}-global.npy"))

    def view_batch(self, number: int, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a view of some training images: features float32 (B, h, w, D) and valid (B, h, w).

        Features have unit length; `valid` is False on padding.
        """
        z = unit_features(np.array(self.views[number, rows]))
        cells = torch.from_numpy(self.view_cells[number, rows].astype(np.int64))
        height, width = (torch.arange(side) for side in z.shape[1:3])
        valid = (height[:, None] < cells[:, :1, None]) & (width < cells[:, 1:, None])
        return z, valid
