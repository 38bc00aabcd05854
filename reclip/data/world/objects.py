"""Single drawn objects with a name: the training data of mini-backbone, and of nothing else.

They stand in for ImageNet. Their classes are not those of the datasets: twelve evenly spaced hues
times all textures. What tells them apart, hue and texture, tells the datasets' classes apart, too.
The same holds for ImageNet and VOC.
"""

from __future__ import annotations

import numpy as np

from reclip.data.world.textures import TEXTURES, fill, neutral, outline, photograph

ANGLES = tuple(range(15, 360, 30))
"""Hue angles in degrees."""

OBJECT_CLASSES = tuple(f"{angle} {texture}" for texture in TEXTURES for angle in ANGLES)
"""Hue angle and texture of each class; a class's index is its label."""


def draw_object(rng: np.random.Generator, size: int) -> tuple[np.ndarray, int]:
    """Return a square image, uint8 (S, S, 3), of one object on a neutral background, and its label.

    The object lies near the middle and fills a good part of the image, as in ImageNet.
    """
    label = int(rng.integers(len(OBJECT_CLASSES)))
    angle, texture = OBJECT_CLASSES[label].split()
    image = neutral((size, size), rng)
    y, x = size * (0.5 + rng.uniform(-0.15, 0.15, 2))
    mask = outline((y, x), rng.uniform(0.25, 0.5) * size, (size, size), rng)
    image[mask] = fill(float(angle), texture, (size, size), rng)[mask]
    return photograph(image, rng), label
