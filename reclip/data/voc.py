"""PASCAL VOC 2012 in its official layout (`VOCdevkit/VOC2012`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reclip.clip.prompts import VOC_CLASSES
from reclip.data.images import IGNORED, image_size, read_label
from reclip.errors import ReclipError

ARCHIVE = "VOCtrainval_11-May-2012.tar"
URL = f"http://host.robots.ox.ac.uk/pascal/VOC/voc2012/{ARCHIVE}"
MD5 = "6cd6e144f989b92b3379bac3b3de84fd"


def find_root(folder: Path) -> Path:
    """The folder that holds `ImageSets/Segmentation`, at or below `folder`; of several, VOC2012.

    Raises ReclipError if there is none.
    """
    marker = Path("ImageSets") / "Segmentation" / "train.txt"
    if (folder / marker).is_file():
        return folder
    found = sorted(folder.glob(f"*/{marker}")) or sorted(folder.glob(f"*/*/{marker}"))
    if not found:
        raise ReclipError(
            f"'{folder}' holds no VOC data ('{marker}' is missing): "
            f"point to the folder or archive with VOCdevkit/VOC2012"
        )
    roots = [path.parents[2] for path in found]
    return next((root for root in roots if root.name == "VOC2012"), roots[0])


def read_split(root: Path, split: str) -> list[tuple[str, Path, Path]]:
    """(id, photo, mask) of each line of `ImageSets/Segmentation/<split>.txt`, in its order.

    Raises ReclipError: no such list, or a listed photo is missing.
    """
    listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not listing.is_file():
        raise ReclipError(f"there is no '{listing}': restore the list of the {split} photos")
    ids = [line.strip() for line in listing.read_text(encoding="utf-8").splitlines()]
    entries = []
    for id in filter(None, ids):
        photo = root / "JPEGImages" / f"{id}.jpg"
        if not photo.is_file():
            raise ReclipError(f"'{listing}' lists '{id}' but there is no '{photo}': restore it")
        entries.append((id, photo, root / "SegmentationClass" / f"{id}.png"))
    return entries


def convert_label(mask: np.ndarray, path: Path) -> np.ndarray:
    """VOC ids (0 background, 1..20, 255 void) to class indices 0..19; background is ignored.

    Raises ReclipError: another id.
    """
    wrong = np.setdiff1d(mask, [*range(len(VOC_CLASSES) + 1), IGNORED])
    if wrong.size:
        raise ReclipError(
            f"label '{path}' holds id {wrong[0]}, VOC has 0..{len(VOC_CLASSES)} and 255: "
            f"use the masks of SegmentationClass"
        )
    return np.where((mask == 0) | (mask == IGNORED), IGNORED, mask - 1).astype(np.uint8)


def read_mask(path: Path, photo: Path) -> np.ndarray:
    """The converted mask, checked against the photo's size."""
    if not path.is_file():
        raise ReclipError(
            f"photo '{photo}' has no mask '{path}': restore it or take it off the list"
        )
    mask = convert_label(read_label(path), path)
    if mask.shape != image_size(photo):
        raise ReclipError(
            f"mask '{path}' is {mask.shape[1]}×{mask.shape[0]}, its photo "
            f"{image_size(photo)[1]}×{image_size(photo)[0]}: restore the pair"
        )
    return mask
