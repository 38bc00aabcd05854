"""Compute CLIP's image-level features of the windows of photos, and write them to disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from reclip.clip.extract import TOKENS_A_BATCH, own_preprocessing, require_usable
from reclip.clip.load import Clip
from reclip.common.npy import new_npy
from reclip.common.prefetch import prefetch
from reclip.data.images import read_image
from reclip.data.index import Item
from reclip.data.reading import Window
from reclip.data.window_grid import WindowGrid


class Cut(NamedTuple):
    """A window of a photo, and the photo's pixels uint8 (H, W, 3)."""

    item: Item
    photo: np.ndarray
    window: Window


def windows_a_batch(native: tuple[int, int]) -> int:
    """Return how many windows are computed at a time; `native`: CLIP's grid (h, w)."""
    return max(1, TOKENS_A_BATCH // math.prod(native))


def cache_windows(
    clip: Clip, items: Sequence[Item], grid: WindowGrid, loaders: int, path: Path
) -> None:
    """Write image embeddings float32 (T, D), not normalised: photo by photo, window by window.

    Each window goes through CLIP's own preprocessing, as in the official code. A batch may hold
    windows of several photos. Each photo is decoded once, and no more are kept than batches ahead
    need.

    Args:
        items: at the size of their photos. loaders: threads that prefetch photos and windows.
    Raises ReclipError: the embedding of a window is no usable number.
    """
    prepare = own_preprocessing(clip)

    def load(batch: list[Cut]) -> torch.Tensor:
        return torch.stack([prepare(_pixels(cut)) for cut in batch])

    total = sum(grid.count(item.height, item.width) for item in items)
    bar = tqdm(total=total, desc="windows", disable=None)
    cuts, first = _cuts(items, grid, loaders), 0
    with new_npy(path, np.dtype(np.float32), (total, clip.embed_dim)) as file:
        batches = _batches(cuts, windows_a_batch(clip.grid))
        for batch, images in prefetch(batches, load, loaders):
            vectors = _embed(clip, images)
            require_usable(None, vectors, [cut.item.image for cut in batch])
            file.write(first * clip.embed_dim, vectors.cpu().numpy())
            first += len(batch)
            bar.update(len(batch))


def _cuts(items: Sequence[Item], grid: WindowGrid, loaders: int) -> Iterator[Cut]:
    """Yield the windows of all photos, each of which is decoded once."""
    for item, photo in prefetch(items, lambda item: read_image(item.image), loaders):
        for window in grid.windows(item.height, item.width):
            yield Cut(item, photo, window)


def _batches(cuts: Iterator[Cut], size: int) -> Iterator[list[Cut]]:
    while batch := list(islice(cuts, size)):
        yield batch


def _pixels(cut: Cut) -> Image.Image:
    top, left, height, width = cut.window
    return Image.fromarray(cut.photo[top : top + height, left : left + width])


@torch.inference_mode()
def _embed(clip: Clip, images: torch.Tensor) -> torch.Tensor:
    return clip.encode_image(images.to(clip.device))
