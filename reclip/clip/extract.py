"""Compute CLIP's dense and image-level features of photos and views, and write them to disk."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from open_clip import image_transform
from PIL import Image
from tqdm import tqdm

from reclip.clip.dense import dense_features
from reclip.clip.feature_cache import grid_of
from reclip.clip.load import Clip
from reclip.common.errors import ReclipError
from reclip.common.npy import new_npy, save_npy
from reclip.common.prefetch import prefetch
from reclip.config.models import ClipSettings, ImageSettings, ViewSettings
from reclip.data.images import read_image
from reclip.data.index import Item
from reclip.data.reading import Window, resize_image, whole_size, windows
from reclip.data.views import crop_image, draw_view, normalise, pad_to

TOKENS_A_BATCH = 4096  # bounds memory: pieces of one size share a batch up to this many tokens


class Extractor:
    """Computes dense and image-level features of photos that are already cut and resized.

    loaders: threads that prefetch photos.
    """

    def __init__(self, clip: Clip, settings: ClipSettings, loaders: int) -> None:
        self.clip, self.settings, self.loaders = clip, settings, loaders
        self.patch, self.dim, self.norm = clip.patch_size, clip.embed_dim, settings.norm
        self.dtype = np.dtype(settings.cache_dtype)

    @torch.inference_mode()
    def __call__(
        self, images: list[torch.Tensor], photos: Sequence[object], with_global: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return tokens (B, h, w, D) and vectors (B, D) of normalised images of one size (3, H, W).

        The vectors are None without `with_global`.
        photos: names the photo of each image in errors.
        Raises ReclipError: the features of a photo are no usable numbers.
        """
        z, vectors = dense_features(
            self.clip,
            torch.stack(images).to(self.clip.device),
            attention=self.settings.attention,
            residual=self.settings.residual,
            mlp=self.settings.mlp,
            with_global=with_global,
        )
        require_usable(z, vectors, photos)
        tokens = z.to(getattr(torch, self.settings.cache_dtype)).cpu().numpy()
        return tokens, None if vectors is None else vectors.cpu().numpy()


def require_usable(
    tokens: torch.Tensor | None, vectors: torch.Tensor | None, photos: Sequence[object]
) -> None:
    """Check features before they are stored: NaN would pass every later stage as class 0.

    Args:
        tokens: of unit length (B, h, w, D), if computed. vectors: (B, D), if computed.
        photos: names of the B photos.
    Raises ReclipError: a token is not of unit length, or a vector is zero or not finite.
    """
    good = torch.ones(len(photos), dtype=torch.bool)
    if tokens is not None:  # comparisons with NaN are False
        squares = tokens.float().square().sum(-1)
        good &= ((squares - 1).abs() < 0.1).flatten(1).all(1).cpu()
    if vectors is not None:
        squares = vectors.float().square().sum(-1)
        good &= ((squares > 0) & squares.isfinite()).cpu()
    if not good.all():
        raise ReclipError(
            f"CLIP's features of '{photos[int(good.int().argmin())]}' are no usable numbers (NaN, "
            f"infinite or zero). Check the CLIP weights, then the photo: get the weights again or "
            f"set another clip.checkpoint or clip.pretrained."
        )


class Piece(NamedTuple):
    """A window of image number `image`, read at `size` (H, W); its tokens start at `offset`."""

    image: int
    size: tuple[int, int]
    window: Window
    offset: int


def layout(items: Iterable[Item], image: ImageSettings, patch: int) -> Iterator[list[Piece]]:
    """Yield the windows of each image, and where their tokens lie."""
    offset = 0
    for i, item in enumerate(items):
        size, pieces = whole_size(item.height, item.width, image), []
        for window in windows(size, image):
            pieces.append(Piece(i, size, window, offset))
            offset += math.prod(grid_of(window[2:], patch))
        yield pieces


def count_tokens(pieces: Iterable[Piece], patch: int) -> int:
    """Return the number of tokens of some windows."""
    return sum(math.prod(grid_of(piece.window[2:], patch)) for piece in pieces)


def _same_size_batches(pieces: list[Piece], patch: int) -> Iterator[list[Piece]]:
    """Yield pieces of one size, as many as a batch may hold."""
    by_size = defaultdict(list)
    for piece in pieces:
        by_size[piece.window[2:]].append(piece)
    for size, alike in by_size.items():
        step = max(1, TOKENS_A_BATCH // math.prod(grid_of(size, patch)))
        for start in range(0, len(alike), step):
            yield alike[start : start + step]


def cache_pieces(
    extractor: Extractor,
    items: list[Item],
    image: ImageSettings,
    folder: Path,
    *,
    with_global: bool,
) -> np.ndarray:
    """Write the tokens of a shard's photos to `tokens.npy` in its folder.

    Returns the image-level features float32 (n, D), or (0, D) without `with_global`.
    """

    @lru_cache(maxsize=8)  # the windows of an image follow one another
    def read(image: int, size: tuple[int, int]) -> np.ndarray:
        return resize_image(read_image(items[image].image), size)

    def load(batch: list[Piece]) -> list[torch.Tensor]:
        return [
            normalise(read(image, size)[top : top + height, left : left + width], extractor.norm)
            for image, size, (top, left, height, width), _ in batch
        ]

    pieces = list(chain.from_iterable(layout(items, image, extractor.patch)))
    shape = count_tokens(pieces, extractor.patch), extractor.dim
    vectors = np.zeros((len(pieces) if with_global else 0, extractor.dim), np.float32)
    bar = tqdm(total=len(pieces), desc=f"features of {folder.name}", disable=None)
    batches = _same_size_batches(pieces, extractor.patch)
    with new_npy(folder / "tokens.npy", extractor.dtype, shape) as tokens:
        for batch, cuts in prefetch(batches, load, extractor.loaders):
            photos = [items[piece.image].image for piece in batch]
            z, found = extractor(cuts, photos, with_global)
            for k, piece in enumerate(batch):
                tokens.write(piece.offset * extractor.dim, z[k])
                if with_global:
                    vectors[piece.image] = found[k]
            bar.update(len(batch))
    return vectors


def whole_images(extractor: Extractor, items: list[Item], whole: ImageSettings) -> np.ndarray:
    """Return image-level features float32 (n, D) of whole images, for tokens of windows."""
    vectors = []
    for item in tqdm(items, desc="image-level features", disable=None):
        size = whole_size(item.height, item.width, whole)
        image = normalise(resize_image(read_image(item.image), size), extractor.norm)
        vectors.append(extractor([image], [item.image], with_global=True)[1][0])
    return np.reshape(vectors, (len(items), extractor.dim)).astype(np.float32)


def own_preprocessing(clip: Clip) -> Callable[[Image.Image], torch.Tensor]:
    """Return CLIP's own preprocessing, of an image to (3, side, side).

    That is: short side to the model's image size by antialiased bicubic interpolation, middle
    square, CLIP's mean and deviation.
    """
    side = clip.model.visual.image_size
    return image_transform(side, is_train=False, mean=clip.mean, std=clip.std)


@torch.inference_mode()
def centre_crop_embedding(clip: Clip, photo: np.ndarray) -> torch.Tensor:
    """Return the image embedding (D,), not normalised, of the middle square of a photo.

    photo: uint8 (H, W, 3). It goes through CLIP's own preprocessing.
    """
    image = own_preprocessing(clip)(Image.fromarray(photo))[None].to(clip.device)
    return clip.encode_image(image)[0]


def centre_crops(clip: Clip, items: list[Item]) -> np.ndarray:
    """Return image-level features float32 (n, D) of the official code."""
    bar = tqdm(items, desc="image-level features", disable=None)
    found = []
    for item in bar:
        vector = centre_crop_embedding(clip, read_image(item.image))
        require_usable(None, vector[None], [item.image])
        found.append(vector.cpu().numpy())
    return np.reshape(found, (len(items), clip.embed_dim)).astype(np.float32)


def cache_views(
    extractor: Extractor, items: list[Item], views: ViewSettings, image: ImageSettings, folder: Path
) -> None:
    """Write a shard's augmented views to `views.npy`, and the size of each to `cells.npy`."""
    side = grid_of((views.crop, views.crop), extractor.patch)[0]
    step = max(1, TOKENS_A_BATCH // side**2)
    shape = views.count, len(items), side, side, extractor.dim

    def load(start: int) -> list[list[torch.Tensor]]:
        """Return the crops of some photos, view by view; each photo is read once."""
        found = [[] for _ in range(views.count)]
        for item in items[start : start + step]:
            photo = read_image(item.image)
            for number, crops in enumerate(found):
                view = draw_view(item.id, item.height, item.width, number, views, image)
                crops.append(normalise(crop_image(photo, view), extractor.norm))
        return found

    cells = np.zeros((*shape[:2], 2), np.int16)
    bar = tqdm(total=math.prod(shape[:2]), desc=f"views of {folder.name}", disable=None)
    with new_npy(folder / "views.npy", extractor.dtype, shape) as tokens:
        for start, found in prefetch(range(0, len(items), step), load, extractor.loaders):
            for number, crops in enumerate(found):
                rows = slice(start, start + len(crops))
                cells[number, rows] = [grid_of(crop.shape[1:], extractor.patch) for crop in crops]
                padded = [pad_to(crop, views.crop, views.crop) for crop in crops]
                z = extractor(padded, [i.image for i in items[rows]])[0]
                tokens.write((number * len(items) + start) * math.prod(shape[2:]), z)
                bar.update(len(crops))
    save_npy(folder / "cells.npy", cells)
