"""From logits on a patch grid to a label map at the photo's own size."""

from __future__ import annotations

import torch
from torch.nn import functional

from reclip.clip.feature_cache import FeatureCache
from reclip.data.index import Item
from reclip.rectify.model import Rectifier


def upsample(
    logits: torch.Tensor, cell: int, read: tuple[int, int], size: tuple[int, int]
) -> torch.Tensor:
    """Two bilinear steps: grid to the padded image that was read, padding cut, then to the photo.

    Args:
        logits: (C, h, w).
        cell: pixels of the read image a grid cell.
        read: (H, W) of the image as read, without padding.
        size: (H, W) of the photo.

    Returns:
        (C, *size).
    """
    height, width = logits.shape[-2:]
    full = functional.interpolate(
        logits[None], (height * cell, width * cell), mode="bilinear", align_corners=False
    )
    full = full[..., : read[0], : read[1]]
    if tuple(read) != tuple(size):
        full = functional.interpolate(full, size, mode="bilinear", align_corners=False)
    return full[0]


def feature_logits(model: Rectifier, features: FeatureCache, split: str, i: int) -> torch.Tensor:
    """Logits (C, h, w) of a whole image from its cached features."""
    z = features.whole(split, i).to(model.w_query.device)
    return model.logits(z[None])[0].permute(2, 0, 1)


def predict_from_features(
    model: Rectifier, features: FeatureCache, split: str, i: int, item: Item
) -> torch.Tensor:
    """Class map (H, W) of a cached image, whole-image protocol."""
    entry = features.images(split)[i]
    logits = feature_logits(model, features, split, i)
    return upsample(logits, features.patch, entry["size"], (item.height, item.width)).argmax(0)
