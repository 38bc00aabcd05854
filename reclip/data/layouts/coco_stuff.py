"""COCO-Stuff (164k): the photos of COCO 2017, and label maps from another download.

Photos lie in `{train,val}2017/<id>.jpg`, maps in `{train,val}2017/<id>.png` of another folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED
from reclip.data.label_colours import LabelColours
from reclip.data.layouts.class_names import Classes
from reclip.data.layouts.coco_classes import COCO_27, COCO_27_IDS, COCO_171, COCO_IDS
from reclip.data.layouts.layout import IdTable, Layout, find_marked, photos_in, read_ids

FOLDERS = {"train": "train2017", "val": "val2017"}
OFFICIAL = {"train": 118_287, "val": 5_000}


class Reading(NamedTuple):
    """Classes of COCO-Stuff, and the ids that stand for each of them."""

    classes: Classes
    ids: Sequence[int | Sequence[int]]


# kind of source -> how it reads the same label maps
KINDS = {
    "coco-stuff-27": Reading(COCO_27, COCO_27_IDS),
    "coco-stuff-171": Reading(COCO_171, COCO_IDS),
}
KNOWN = "0..181, except 11 that no map has, and 255"


def find_root(folder: Path) -> Path:
    """Return the folder that holds `train2017` and `val2017`: `folder`, or one up to two below.

    Raises ReclipError: there is none, or it lacks `val2017`.
    """
    root = find_marked(folder, "train2017", "photos of COCO 2017", "coco/images")
    if not (root / "val2017").is_dir():
        raise ReclipError(
            f"'{root}' holds train2017 but no val2017: unpack val2017.zip beside it and name the "
            f"folder as source.folder, or put train2017.zip and val2017.zip into `downloads`"
        )
    return root


def labels_beside(root: Path) -> Path | None:
    """Return the folder of label maps beside the photos, as the usual copies have it; else None.

    It is `annotations` beside `images` in the dataset's own guide, and `stuffthingmaps` beside
    `train2017` in others.
    """
    places = (root / "stuffthingmaps", root.parent / "annotations", root.parent / "stuffthingmaps")
    return next((place for place in places if (place / "val2017").is_dir()), None)


def read(kind: str, root: Path, labels: Path) -> Layout:
    """Return all photos of `train2017` and `val2017` under `root`, by name.

    PiCIE and STEGO train and evaluate on a selection of photos with much stuff, 49,629 of train.
    The official code of ReCLIP++ takes the whole splits, and so does this.

    Args:
        kind: "coco-stuff-27" or "coco-stuff-171".
        labels: the folder of the label maps, or one up to two levels above it.
    Raises ReclipError: a folder is missing.
    """
    maps = find_marked(labels, "val2017", "label maps of COCO-Stuff", "stuffthingmaps")
    reading = KINDS[kind]
    table = IdTable(reading.ids, (IGNORED,), KNOWN)
    of_png = partial(read_ids, colours=LabelColours())

    def label_of(folder: str, id: str) -> Path:
        return maps / folder / f"{id}.png"

    photos = {
        split: photos_in(root / folder, partial(label_of, folder), of_png, table)
        for split, folder in FOLDERS.items()
    }
    lists = "all photos of train2017 and val2017, by name"
    return Layout(kind, reading.classes, lists, OFFICIAL, photos)
