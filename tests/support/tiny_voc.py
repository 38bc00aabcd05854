"""A tiny copy of PASCAL VOC 2012 in its official layout: three photos of 6×4 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

TRAIN, VAL = ["2007_000032", "2007_000001"], ["2008_000009"]


def make_voc(base: Path, name: str = "VOC2012", train=TRAIN, val=VAL) -> Path:
    """Make and return `<base>/VOCdevkit/<name>` with photos of 6×4 pixels."""
    root = base / "VOCdevkit" / name
    for folder in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for split, ids in (("train", train), ("val", val)):
        listing = root / "ImageSets/Segmentation" / f"{split}.txt"
        listing.write_text("".join(f"{id}\n" for id in ids))
        for id in ids:
            Image.new("RGB", (6, 4), (90, 80, 70)).save(root / "JPEGImages" / f"{id}.jpg")
            write_mask(root, id, np.tile(np.array([0, 1, 20, 255, 15, 0], np.uint8), (4, 1)))
    return root


def write_mask(root: Path, id: str, ids: np.ndarray) -> None:
    image = Image.frombytes("P", ids.shape[::-1], ids.tobytes())
    image.putpalette([*range(256)] * 3)
    image.save(root / "SegmentationClass" / f"{id}.png")
