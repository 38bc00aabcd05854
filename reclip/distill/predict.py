"""A distilled student's class map of a photo."""

from __future__ import annotations

import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.data.images import read_image
from reclip.data.index import Item
from reclip.data.views import normalise, pad_to, resize_image, whole_size, windows
from reclip.distill.deeplab import OUTPUT_STRIDE, Student
from reclip.evaluate.predict import Frame, Piece, class_map


def predict_by_student(
    student: Student, features: FeatureCache, item: Item, device: torch.device
) -> torch.Tensor:
    """Class map (H, W) of a photo, read as CLIP reads it."""
    settings = features.image_settings
    size = whole_size(item.height, item.width, settings)
    image = normalise(resize_image(read_image(item.image), size), features.norm)
    pieces = []
    for window in windows(size, settings):
        top, left, height, width = window
        whole = (-(-side // OUTPUT_STRIDE) * OUTPUT_STRIDE for side in (height, width))
        cut = pad_to(image[:, top : top + height, left : left + width], *whole)
        pieces.append(Piece(window, student(cut[None].to(device))[0][0]))
    frame = Frame(OUTPUT_STRIDE, size, (item.height, item.width), settings.overhang)
    return class_map(pieces, frame)
