"""Cityscapes: the 19 classes of its benchmark, photos and labels in its official layout.

    leftImg8bit/{train,val}/<city>/<id>_leftImg8bit.png
    gtFine/{train,val}/<city>/<id>_gtFine_labelIds.png

The test split has no labels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED, read_label
from reclip.data.label_colours import LabelColours
from reclip.data.layouts.layout import (
    SPLITS,
    IdTable,
    Layout,
    Photo,
    checked_id,
    find_marked,
    shown,
)

OFFICIAL = {"train": 2_975, "val": 500}

# Ids and names, from the dataset's own scripts; the official code prompts with these names.
_TABLE = """
    7 road, 8 sidewalk, 11 building, 12 wall, 13 fence, 17 pole, 19 traffic light, 20 traffic sign,
    21 vegetation, 22 terrain, 23 sky, 24 person, 25 rider, 26 car, 27 truck, 28 bus, 31 train,
    32 motorcycle, 33 bicycle
"""
_ENTRIES = [entry.split(maxsplit=1) for entry in " ".join(_TABLE.split()).split(", ")]
IDS = tuple(int(id) for id, _ in _ENTRIES)
CLASSES = tuple((name,) for _, name in _ENTRIES)

# The other ids stand for what the benchmark ignores, such as 0 unlabeled, 1 ego vehicle, 15 bridge.
LABEL_IDS = IdTable(IDS, sorted({*range(34)} - {*IDS}), "0..33")
TRAIN_IDS = IdTable(range(len(IDS)), (IGNORED,), "0..18 and 255")

PHOTO, LABEL, TRAIN_LABEL = (
    f"_{ending}.png" for ending in ("leftImg8bit", "gtFine_labelIds", "gtFine_labelTrainIds")
)

find_root = partial(
    find_marked, marker="leftImg8bit/train", wanted="photos of Cityscapes", usual="cityscapes"
)


def labels_beside(root: Path) -> Path | None:
    """Return the folder with `gtFine` if it also has the photos; else None."""
    return root if (root / "gtFine/val").is_dir() else None


def read(root: Path, labels: Path) -> Layout:
    """Return all photos of `leftImg8bit/{train,val}` under `root`, by city and name.

    Without `gtFine_labelIds.png` a photo's label map is `gtFine_labelTrainIds.png`, which the
    dataset's scripts make of it: 0..18 for the classes, and 255.

    labels: the folder that holds `gtFine`, or one up to two levels above it.
    Raises ReclipError: a folder is missing, or a name is no photo's.
    """
    place = find_marked(labels, "gtFine/val", "labels of Cityscapes", "cityscapes")
    read_ids = partial(read_label, colours=LabelColours())
    photos = {
        split: _photos_of(root / "leftImg8bit" / split, place / "gtFine" / split, read_ids)
        for split in SPLITS
    }
    lists = "all photos of leftImg8bit/train and leftImg8bit/val, by name"
    return Layout("cityscapes", CLASSES, lists, OFFICIAL, photos)


def _photos_of(folder: Path, maps: Path, read_ids: Callable[[Path], np.ndarray]) -> list[Photo]:
    if not folder.is_dir():
        raise ReclipError(f"there is no folder '{folder}': restore it")
    photos = []
    for path in sorted(p for city in shown(folder, "*/") for p in shown(city, f"*{PHOTO}")):
        id = checked_id(path.name.removesuffix(PHOTO), path.parent)
        stem = maps / path.parent.name / id
        source, table = Path(f"{stem}{LABEL}"), LABEL_IDS
        if not source.is_file() and (derived := Path(f"{stem}{TRAIN_LABEL}")).is_file():
            source, table = derived, TRAIN_IDS
        photos.append(Photo(id, path, source, read_ids, table))
    return photos
