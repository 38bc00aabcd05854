"""Predict the class map of a photo by a distilled student."""

from __future__ import annotations

import math

import numpy as np
import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.config.models import ImageSettings
from reclip.data.images import read_image
from reclip.data.index import Item
from reclip.data.reading import Frame, Piece, read_in_windows
from reclip.data.views import normalise, pad_to
from reclip.distill import OUTPUT_STRIDE
from reclip.distill.deeplab import Student
from reclip.rectify.class_map import class_map


def predict_by_student(
    student: Student, features: FeatureCache, item: Item, device: torch.device
) -> torch.Tensor:
    """Return the class map (H, W) of a photo, read with the settings of the feature cache."""
    settings, photo = features.image_settings, read_image(item.image)
    return class_map(*student_logits(student, photo, settings, features.norm, device))


def student_logits(
    student: Student, photo: np.ndarray, settings: ImageSettings, norm: str, device: torch.device
) -> tuple[list[Piece], Frame]:
    """Return logits of the windows of a photo uint8 (H, W, 3), and their frame."""
    size, cuts = read_in_windows(photo, settings)
    pieces = []
    for window, pixels in cuts:
        whole = (math.ceil(side / OUTPUT_STRIDE) * OUTPUT_STRIDE for side in pixels.shape[:2])
        cut = pad_to(normalise(pixels, norm), *whole)
        pieces.append(Piece(window, student(cut[None].to(device))[0][0]))
    return pieces, Frame(OUTPUT_STRIDE, size, photo.shape[:2], settings.overhang)
