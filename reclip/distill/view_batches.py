"""Batches of augmented views for a student: pixels and label maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.data.images import IGNORED, read_image
from reclip.data.index import Item
from reclip.data.views import crop_image, crop_label, normalise, pad_to

MEMORY = 2**30  # ours: bytes of decoded views in the cache


class ViewBatches:
    """Photos and label maps of the views that have cached features.

    Args:
        labels: item to its label map, uint8 (H, W) of the photo's size.
    """

    def __init__(
        self, items: list[Item], features: FeatureCache, labels: Callable[[Item], np.ndarray]
    ):
        self.items, self.features, self.labels = items, features, labels
        kept = max(1, MEMORY // (4 * features.crop**2))
        self._one = lru_cache(maxsize=kept)(self._load)

    def __call__(self, number: int, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images `rows` in view `number`; there may be none.

        Returns:
            Normalised images (B, 3, crop, crop), with zeros as padding, and labels int64
            (B, crop, crop), with IGNORED as padding.
        """
        side = self.features.crop
        images, labels = [], []
        for i in rows:
            image, label = self._one(number, int(i))
            images.append(pad_to(normalise(image, self.features.norm), side, side))
            labels.append(pad_to(torch.from_numpy(label).long(), side, side, IGNORED))
        if not images:  # a small batch, split over more processes than it has images
            return torch.empty(0, 3, side, side), torch.empty(0, side, side, dtype=torch.long)
        return torch.stack(images), torch.stack(labels)

    def _load(self, number: int, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return view `number` of image i and of its label map, without padding."""
        item = self.items[i]
        view = self.features.view(item, number)
        return crop_image(read_image(item.image), view), crop_label(self.labels(item), view)
