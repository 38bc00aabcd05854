"""CLIP's own image embedding of a photo, for the image-level hypotheses of the official code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from reclip.config.models import ClipSettings

if TYPE_CHECKING:
    from reclip.clip.load import Clip


def untouched(settings: ClipSettings) -> ClipSettings:
    """Return the settings of the same CLIP with its own activation and normalisations.

    The official code guesses the classes with CLIP unchanged, even if its dense features come from
    an image tower with another activation.
    """
    return settings.model_copy(update={"activation": "default", "block_ln_eps": None})


@torch.inference_mode()
def centre_crop_embedding(clip: Clip, photo: np.ndarray) -> torch.Tensor:
    """Return the image embedding (D,), not normalised, of the middle square of a photo.

    photo: uint8 (H, W, 3). It goes through CLIP's own preprocessing: short side to the model's
    image size by antialiased bicubic interpolation, middle square, CLIP's mean and deviation.
    """
    from open_clip import image_transform

    side = clip.model.visual.image_size
    prepare = image_transform(side, is_train=False, mean=clip.mean, std=clip.std)
    image = prepare(Image.fromarray(photo))[None].to(clip.device)
    return clip.model.encode_image(image)[0].float()
