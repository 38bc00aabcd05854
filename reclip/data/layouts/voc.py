"""PASCAL VOC 2012 in its official layout (`VOCdevkit/VOC2012`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from reclip.data.images import IGNORED, read_label
from reclip.data.layouts.class_names import VOC_CLASSES
from reclip.data.layouts.layout import (
    SPLITS,
    IdTable,
    Layout,
    Photo,
    find_marked,
    listed_photo,
    read_list,
)

MASKS = "SegmentationClass"
OFFICIAL = {"train": 1464, "val": 1449}

# 0 is the background, 255 the border of objects.
TABLE = IdTable(range(1, len(VOC_CLASSES) + 1), (0, IGNORED), "0..20 and 255")


def find_root(folder: Path) -> Path:
    """The folder that holds `ImageSets/Segmentation`, at or below `folder`; of several, VOC2012.

    Raises ReclipError if there is none.
    """
    marker = "ImageSets/Segmentation/train.txt"
    return find_marked(folder, marker, "VOC data", "VOCdevkit/VOC2012")


def read(root: Path) -> Layout:
    """The photos that `ImageSets/Segmentation/{train,val}.txt` list, in their order.

    Raises ReclipError: no such list, or a listed photo is missing.
    """
    photos = {}
    for split in SPLITS:
        listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        photos[split] = [
            masked_photo(root, id, listed_photo(root / "JPEGImages", id, listing))
            for id in read_list(listing)
        ]
    return Layout("voc", VOC_CLASSES, "ImageSets/Segmentation of VOC 2012", OFFICIAL, photos)


def masked_photo(root: Path, id: str, path: Path) -> Photo:
    """A photo with the mask that VOC itself has of it, if any."""
    mask = root / MASKS / f"{id}.png"
    return Photo(id, path, mask, partial(read_mask, mask))


def read_mask(path: Path) -> np.ndarray:
    """Class indices 0..19, uint8 (H, W); background and borders are IGNORED.

    Raises ReclipError: no such image, or another id.
    """
    return TABLE.convert(read_label(path), path)
