"""ADE20K's scene parsing benchmark in its official layout (`ADEChallengeData2016`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from reclip.common.errors import ReclipError
from reclip.data.images import read_label
from reclip.data.label_colours import LabelColours
from reclip.data.layouts.class_names import ADE_CLASSES
from reclip.data.layouts.layout import (
    IdTable,
    Layout,
    Photo,
    at_or_below,
    find_marked,
    photos_in,
    shown,
)

FOLDERS = {"train": "training", "val": "validation"}
OFFICIAL = {"train": 20210, "val": 2000}
TABLE = IdTable(range(1, len(ADE_CLASSES) + 1), (0,), "0..150")


def find_root(folder: Path) -> Path:
    """Return the folder that holds `images/training`: `folder`, or one up to two levels below.

    Raises ReclipError: there is none, or it is the full ADE20K.
    """
    for place in at_or_below(folder):
        if (place / "images/ADE/training").is_dir():  # the full ADE20K of 2021
            raise ReclipError(_is_full(place))
    usual = "ADEChallengeData2016"
    return find_marked(folder, "images/training", "ADE20K benchmark", usual)


def read(root: Path) -> Layout:
    """Return all photos of `images/{training,validation}`, sorted by name.

    The official code takes them as the file system lists them, so its order differs between
    machines.

    Raises ReclipError: a folder is missing, it is the full ADE20K, or `objectInfo150.txt` numbers
        the classes otherwise.
    """
    check_class_order(root / "objectInfo150.txt")
    read_ids = partial(read_label, colours=LabelColours())
    photos = {split: _photos_of(root, name, read_ids) for split, name in FOLDERS.items()}
    lists = "all photos of images/training and images/validation, by name"
    return Layout("ade", ADE_CLASSES, lists, OFFICIAL, photos)


def _photos_of(root: Path, name: str, read_ids: Callable[[Path], np.ndarray]) -> list[Photo]:
    folder, masks = root / "images" / name, root / "annotations" / name
    photos = photos_in(folder, lambda id: masks / f"{id}.png", read_ids, TABLE)
    if not photos and shown(folder, "*/"):  # a folder for each letter and scene
        raise ReclipError(_is_full(root))
    return photos


def _is_full(root: Path) -> str:
    return (
        f"'{root}' is the full ADE20K, whose photos lie in folders of scenes and whose labels have "
        f"thousands of names: get ADEChallengeData2016.zip, its benchmark of 150 classes"
    )


def check_class_order(path: Path) -> None:
    """Compare our class names with the official table of names, if it exists.

    Raises ReclipError: the row of a class lacks our name.
    """
    if not path.is_file():
        return
    rows = [line.split("\t") for line in path.read_text("utf-8", errors="replace").splitlines()]
    found = {row[0].strip(): {name.strip() for name in row[-1].split(",")} for row in rows}
    for id, (name,) in enumerate(ADE_CLASSES, 1):
        if name not in found.get(str(id), ()):
            raise ReclipError(
                f"'{path}' does not name class {id} '{name}': its classes are not those of "
                f"ADEChallengeData2016, get the official archive"
            )
