"""ADE20K's scene parsing benchmark in its official layout (`ADEChallengeData2016`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from reclip.common.errors import ReclipError
from reclip.data.images import read_label
from reclip.data.layouts.class_names import ADE_CLASSES
from reclip.data.layouts.layout import (
    PHOTO_SUFFIXES,
    IdTable,
    Layout,
    Photo,
    checked_id,
    find_marked,
)

FOLDERS = {"train": "training", "val": "validation"}
OFFICIAL = {"train": 20210, "val": 2000}
TABLE = IdTable(range(1, len(ADE_CLASSES) + 1), (0,), "0..150")


def find_root(folder: Path) -> Path:
    """The folder that holds `images/training`, at or below `folder`.

    Raises ReclipError if there is none.
    """
    return find_marked(folder, "images/training", "ADE20K benchmark", "ADEChallengeData2016")


def read(root: Path) -> Layout:
    """All photos of `images/{training,validation}`, by name.

    The official code takes them as the file system lists them, so that its order differs from
    machine to machine.
    Raises ReclipError: a missing folder, or `objectInfo150.txt` numbers the classes otherwise.
    """
    check_class_order(root / "objectInfo150.txt")
    photos = {split: _photos_of(root, name) for split, name in FOLDERS.items()}
    lists = "all photos of images/training and images/validation, by name"
    return Layout("ade", ADE_CLASSES, lists, OFFICIAL, photos)


def _photos_of(root: Path, name: str) -> list[Photo]:
    folder = root / "images" / name
    if not folder.is_dir():
        raise ReclipError(f"there is no folder '{folder}': restore it")
    photos = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in PHOTO_SUFFIXES):
        mask = root / "annotations" / name / f"{path.stem}.png"
        photos.append(Photo(checked_id(path.stem, folder), path, mask, partial(read_mask, mask)))
    return photos


def read_mask(path: Path) -> np.ndarray:
    """Class indices 0..149, uint8 (H, W); pixels without a class are IGNORED.

    Raises ReclipError: no such image, or another id.
    """
    return TABLE.convert(read_label(path), path)


def check_class_order(path: Path) -> None:
    """Compare our names with the official table of names, where there is one.

    Raises ReclipError: a class's row lacks our name for it.
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
