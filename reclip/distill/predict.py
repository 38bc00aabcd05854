"""A distilled student's class map of a whole photo."""

from __future__ import annotations

import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.data.images import read_image
from reclip.data.index import Item
from reclip.data.views import normalise, pad_to, resize_image, whole_size
from reclip.distill.deeplab import OUTPUT_STRIDE, Student
from reclip.evaluate.predict import upsample


def image_batch(features: FeatureCache, item: Item) -> torch.Tensor:
    """The whole photo as the students see it: (1, 3, H, W), padded to whole cells."""
    size = whole_size(item.height, item.width, features.image_settings)
    image = normalise(resize_image(read_image(item.image), size), features.norm)
    height, width = (-(-side // OUTPUT_STRIDE) * OUTPUT_STRIDE for side in size)
    return pad_to(image, height, width)[None]


def predict_by_student(
    student: Student, features: FeatureCache, item: Item, device: torch.device
) -> torch.Tensor:
    """Class map (H, W) of a photo by a distilled student."""
    logits, _ = student(image_batch(features, item).to(device))
    size = whole_size(item.height, item.width, features.image_settings)
    return upsample(logits[0], OUTPUT_STRIDE, size, (item.height, item.width)).argmax(0)
