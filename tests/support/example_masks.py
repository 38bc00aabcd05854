"""Masks of every kind: real ones with thin rings and small objects, and noise."""

from __future__ import annotations

import io
import tarfile

import numpy as np
from PIL import Image

from support.needs import VOC

VOID = 21  # VOC's border, 255: rings of 5 pixels around objects


def real_masks() -> dict[str, np.ndarray]:
    """Twenty masks of PASCAL VOC with 22 classes: ten with the smallest objects, ten others.

    None if the archive is missing.
    """
    if not VOC.exists():
        return {}
    masks = {}
    with tarfile.open(VOC) as archive:
        for member in [m for m in archive if "/SegmentationClass/" in m.name][::5]:
            with Image.open(io.BytesIO(archive.extractfile(member).read())) as image:
                mask = np.array(image)
            mask[mask == 255] = VOID
            masks[member.name.rsplit("/", 1)[1].replace(".png", ".jpg")] = mask
    small = sorted(masks, key=lambda name: min(np.unique(masks[name], return_counts=True)[1]))
    return {name: masks[name] for name in [*small[:10], *small[10::12]][:20]}


def made_masks() -> dict[str, np.ndarray]:
    """Masks of 4 classes of unusual shapes, in folders and with unusual names."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((31, 46))
    masks = {
        "noise.jpg": rng.integers(0, 4, (30, 23)),
        "inner/noise.jpg": rng.integers(0, 4, (8, 33)),
        "checkerboard.png": (rows + columns) % 2 * 3,
        "rings.png": np.maximum(abs(rows - 15), abs(columns - 22)) // 2 % 4,
        "Köln #1 & 2?.jpg": rng.random((20, 30)) < 0.02,
        "inner/deep/写真 %41.jpg": np.where(rng.random((9, 9)) < 0.9, 2, 1),
        "full.tar.png": np.full((7, 5), 3),
        "empty.png": np.zeros((7, 5)),
        "row.png": rng.integers(0, 4, (1, 70)),
        "column.png": rng.integers(0, 4, (70, 1)),
        "pixel.png": np.full((1, 1), 2),
        "corner.png": np.pad(np.ones((1, 1)), ((0, 40), (0, 300))),
    }
    return {name: np.asarray(mask, np.uint8) for name, mask in masks.items()}
