"""PASCAL VOC 2012 in its official layout (`VOCdevkit/VOC2012`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from reclip.data.images import IGNORED, read_label
from reclip.data.label_colours import LabelColours
from reclip.data.layouts.class_names import VOC_CLASSES
from reclip.data.layouts.layout import IdTable, Layout, find_marked, listed_photos

OFFICIAL = {"train": 1464, "val": 1449}

# 0 is the background, 255 the border of objects.
TABLE = IdTable(range(1, len(VOC_CLASSES) + 1), (0, IGNORED), "0..20 and 255")

find_root = partial(
    find_marked,
    marker="ImageSets/Segmentation/train.txt",
    wanted="VOC data",
    usual="VOCdevkit/VOC2012",
)


def read(root: Path) -> Layout:
    """Return the photos that `ImageSets/Segmentation/{train,val}.txt` list, in their order.

    Their masks, once read, must agree on the colours of the classes.

    Raises ReclipError: a list or a listed photo is missing.
    """
    lists = "ImageSets/Segmentation"
    read_ids = partial(read_label, colours=LabelColours())
    photos = listed_photos(root, lists, partial(mask_of, root), read_ids, TABLE)
    return Layout("voc", VOC_CLASSES, f"{lists} of VOC 2012", OFFICIAL, photos)


def mask_of(root: Path, id: str) -> Path:
    """Return the path of VOC's own mask of a photo; not every photo has one."""
    return root / "SegmentationClass" / f"{id}.png"
