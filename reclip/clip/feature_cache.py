"""The cached features of a dataset on disk, and read access to them.

manifest.json         settings, numbers of photos, and the folder of the shards
train.csv, val.csv    id, height, width (as read), and offset of the first token in its shard; with
                      hypotheses on windows also windows, the number of the photo's windows
shards-<digest>/      per shard (`reclip.clip.shards`), of n photos:
  train-00000/tokens.npy  (T, D): tokens image by image, and of each image window by window (one
                          window, the whole image, unless windows slide)
  train-00000/global.npy  fp32 (n, D): image-level features; with hypotheses on windows (W, D):
                          those of windows, photo by photo and window by window; (0, D) of a
                          dataset `of` another
  train-00000/views.npy   (V, n, h, w, D): augmented views of the training images
  train-00000/cells.npy   int16 (V, n, 2): rows and columns that hold image; the rest is padding
  val-00000/...           tokens.npy and global.npy

Tokens have the precision `clip.cache_dtype`. Nothing is mapped or kept in memory: besides eight
bytes a photo, memory does not grow with the number of photos.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch

from reclip.clip.shards import Shard, cut
from reclip.common.files import read_json, result
from reclip.common.npy import NpyFile
from reclip.common.rows import Rows
from reclip.config.models import ImageSettings, ViewSettings
from reclip.data.index import Item
from reclip.data.reading import Window, windows
from reclip.data.views import View, draw_view
from reclip.data.window_grid import WindowGrid

IMAGE_COLUMNS = ("id", "height", "width", "offset")
WINDOW_COLUMN = "windows"

OPEN_SHARDS = 64
"""Ours: shards whose files stay open. macOS allows a process 256 open files, Linux 1,024."""


def image_columns(grid: WindowGrid | None) -> tuple[str, ...]:
    """Return the columns of the lists of images; grid: windows of hypotheses, if there are any."""
    return (*IMAGE_COLUMNS, WINDOW_COLUMN) if grid else IMAGE_COLUMNS


def grid_of(size: tuple[int, int], patch: int) -> tuple[int, int]:
    """Return (h, w) in patches of a size in pixels; the last patches may reach over the edge."""
    return -(-size[0] // patch), -(-size[1] // patch)


def unit_features(tokens: np.ndarray) -> torch.Tensor:
    """Return tokens (..., D) of any precision as features float32 (..., D) of unit length."""
    return torch.nn.functional.normalize(torch.from_numpy(tokens).float(), dim=-1)


def _read(file: NpyFile, first: int, out: np.ndarray) -> None:
    """Fill `out` with elements of a file, or report that it is damaged."""
    try:
        file.read_into(first, out)
    except (ValueError, EOFError):  # entering a context for each of millions of reads would show
        with result(file.path):
            raise


class _OpenShard:
    """The files of a shard, opened when they are first read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _open(self, name: str) -> NpyFile:
        with result(self.folder / name):
            return NpyFile(self.folder / name)

    @cached_property
    def tokens(self) -> NpyFile:
        return self._open("tokens.npy")

    @cached_property
    def vectors(self) -> NpyFile:
        return self._open("global.npy")

    @cached_property
    def views(self) -> NpyFile:
        return self._open("views.npy")

    @cached_property
    def cells(self) -> np.ndarray:
        with result(self.folder / "cells.npy"):
            return np.load(self.folder / "cells.npy")


class FeatureCache:
    """Read access to the files that stage `cache-features` writes; threads may share it.

    Attributes:
        norm: normalisation of the photos, a key of MEAN_STD.
        patch, crop: sides of a patch and of a view in pixels.
        view_count, view_side: number of views of a training image, and cells of their side.
        grid: windows of the photos that have image-level features; None: the photos have.
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
        self.view_count = self.view_settings.count
        self.view_side = grid_of((self.crop, self.crop), self.patch)[0]
        given = manifest.get("hypothesis_windows")
        self.grid = WindowGrid(**given) if given else None
        self._dim: int = manifest["dim"]
        self._dtype = np.dtype(manifest["dtype"])
        self._shards: str = manifest["shards"]
        self._photos_a_shard: dict[str, int] = manifest["photos_a_shard"]
        self._images = lru_cache(self._read_images)
        self._shard = lru_cache(maxsize=OPEN_SHARDS)(self._open_shard)

    def _read_images(self, split: str) -> Rows:
        return Rows(self.folder / f"{split}.csv", image_columns(self.grid))

    def _open_shard(self, split: str, number: int) -> _OpenShard:
        return _OpenShard(self.folder / self._shards / Shard(split, number, 0, 0).name)

    def _place(self, split: str, i: int) -> tuple[_OpenShard, int]:
        """Return the shard of image i and its number there."""
        number, place = divmod(i, self._photos_a_shard[split])
        return self._shard(split, number), place

    def view(self, item: Item, number: int) -> View:
        """Return the geometry and colour of a cached view."""
        return draw_view(
            item.id, item.height, item.width, number, self.view_settings, self.image_settings
        )

    def ids(self, split: str) -> Sequence[str]:
        """Return the ids of a split's images, which are read when they are asked for."""
        return self._images(split).column("id")

    def size(self, split: str, i: int) -> tuple[int, int]:
        """Return (H, W) in pixels at which image i is read."""
        return self._size_and_offset(split, i)[0]

    def _size_and_offset(self, split: str, i: int) -> tuple[tuple[int, int], int]:
        images = self._images(split)
        row = images[i]
        with result(images.path):
            return (int(row["height"]), int(row["width"])), int(row["offset"])

    def pieces(self, split: str, i: int) -> list[tuple[Window, torch.Tensor]]:
        """Return the windows of image i, each with features float32 (h, w, D) of unit length."""
        size, offset = self._size_and_offset(split, i)
        file = self._place(split, i)[0].tokens
        found = []
        for window in windows(size, self.image_settings):
            grid = grid_of(window[2:], self.patch)
            tokens = np.empty((*grid, self._dim), self._dtype)
            _read(file, offset * self._dim, tokens)
            found.append((window, unit_features(tokens)))
            offset += math.prod(grid)
        return found

    def globals(self, split: str) -> Iterator[torch.Tensor]:
        """Yield the image-level features of each shard, float32 (n, D), not normalised.

        Raises ReclipError: there is not one for each photo. Windows have `window_globals`.
        """
        photos, step = len(self._images(split)), self._photos_a_shard[split]
        for shard in cut(split, photos, step):
            path = self.folder / self._shards / shard.name / "global.npy"
            with result(path):
                vectors = np.load(path)
                if len(vectors) != shard.stop - shard.start:
                    raise ValueError("the number of features is not that of the photos")
            yield torch.from_numpy(vectors)

    def window_globals(self, split: str) -> Iterator[torch.Tensor]:
        """Yield the features of each photo's windows, float32 (windows, D), not normalised."""
        images, step, first = self._images(split), self._photos_a_shard[split], 0
        for i, row in enumerate(images):
            if i % step == 0:
                first = 0  # of a new shard
            with result(images.path):
                vectors = np.empty((int(row[WINDOW_COLUMN]), self._dim), np.float32)
            _read(self._place(split, i)[0].vectors, first * self._dim, vectors)
            first += len(vectors)
            yield torch.from_numpy(vectors)

    def view_batch(self, number: int, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a view of some training images: features float32 (B, h, w, D) and valid (B, h, w).

        Features have unit length; `valid` is False on padding.
        """
        side, dim = self.view_side, self._dim
        size = side * side * dim
        tokens = np.empty((len(rows), side, side, dim), self._dtype)
        cells = np.empty((len(rows), 2), np.int64)
        for k, row in enumerate(rows):
            shard, place = self._place("train", int(row))
            file = shard.views
            _read(file, (number * file.shape[1] + place) * size, tokens[k])
            cells[k] = shard.cells[number, place]
        grid = torch.from_numpy(cells)
        place = torch.arange(side)
        valid = (place[:, None] < grid[:, :1, None]) & (place < grid[:, 1:, None])
        return unit_features(tokens), valid
