"""Predict the label map of a photo from its cached features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.config.models import DenoisingSettings, ImageSettings, RefinementSettings
from reclip.data.images import read_image
from reclip.data.index import Item
from reclip.data.reading import Frame, Piece, Window
from reclip.rectify.class_map import class_map
from reclip.rectify.model import Rectifier
from reclip.rectify.refine import Refiner, colours

CERTAIN = 2.0**-25
"""What a threshold of 1 leaves to the other classes: up to here float32 rounds to 1.

The published threshold of ReCLIP++ on VOC is 1, and works by that rounding alone.
"""
REMOVED = -100.0  # official: logit of a removed class, far below any cosine


def denoise(pieces: Sequence[Piece], settings: DenoisingSettings) -> list[Piece]:
    """Return pieces without the classes that are unlikely in every cell (see DenoisingSettings).

    If no class is left, every pixel gets class 0, as in the official code. The decision does not
    depend on the precision of the softmax: see `CERTAIN`.
    """
    if not settings.prompt_denoising:
        return list(pieces)
    doubts = [_doubt(settings.denoising_scale * p.logits.double()).flatten(1) for p in pieces]
    out = torch.cat(doubts, dim=1).amin(1) > max(1 - settings.denoising_threshold, CERTAIN)
    return [Piece(p.window, p.logits.masked_fill(out[:, None, None], REMOVED)) for p in pieces]


def _doubt(scaled: torch.Tensor) -> torch.Tensor:
    """Return 1 - softmax over the classes of float64 logits (C, ...), to its last digits.

    Of a class above one half it is what the other classes have: 1 - p would cancel.
    """
    top = scaled.argmax(0, keepdim=True)
    likely = (scaled - scaled.amax(0)).exp()
    others = likely.scatter(0, top, 0.0).sum(0, keepdim=True)
    whole = others + likely.gather(0, top)
    return (1 - likely / whole).scatter(0, top, others / whole)


def predict_from_features(
    model: Rectifier,
    features: FeatureCache,
    split: str,
    i: int,
    item: Item,
    processing: RefinementSettings,
) -> torch.Tensor:
    """Return the class map (H, W) of image `i` of a split, from its cached features.

    Only PAMR reads the photo again.
    """
    pieces = rectified_logits(model, features.pieces(split, i), processing)
    frame = feature_frame(features, split, i, item)
    if not processing.pamr:
        return class_map(pieces, frame)
    seen = colours(read_image(item.image), frame, pieces[0].logits.device)
    return class_map(pieces, frame, Refiner(seen, processing))


def rectified_logits(
    model: Rectifier, features: Iterable[tuple[Window, torch.Tensor]], denoising: DenoisingSettings
) -> list[Piece]:
    """Return denoised logits of windows, from their unit-length features (h, w, D)."""
    pieces = [
        Piece(window, model(z.to(model.w_query.device)[None])[0].permute(2, 0, 1))
        for window, z in features
    ]
    return denoise(pieces, denoising)


def feature_frame(features: FeatureCache, split: str, i: int, item: Item) -> Frame:
    """Return the frame of image `i` of a split."""
    overhang = features.image_settings.overhang
    return Frame(features.patch, features.size(split, i), (item.height, item.width), overhang)


def protocol(image: ImageSettings) -> str:
    """Return in words how photos are read, for the metrics."""
    read = "own size" if image.short_side is None else f"short side {image.short_side}"
    if image.protocol == "whole":
        return f"whole, {read}"
    return f"slide {image.window}/{image.stride}, {read}"


def post_processing(settings: RefinementSettings) -> str:
    """Return in words what is done to the logits, for the metrics."""
    done = []
    if settings.prompt_denoising:
        done.append(f"prompt denoising {settings.denoising_threshold:g}")
    if settings.pamr:
        done.append(f"PAMR {settings.pamr}")
        if settings.pamr_dilations != RefinementSettings().pamr_dilations:
            done[-1] += f" at {'/'.join(map(str, settings.pamr_dilations))}"
    return ", ".join(done) or "none"
