"""ADE20K's scene parsing benchmark in its official layout (`ADEChallengeData2016`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

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

find_root = partial(
    find_marked, marker="images/training", wanted="ADE20K benchmark", usual="ADEChallengeData2016"
)


def read(root: Path) -> Layout:
    """Return all photos of `images/{training,validation}`, sorted by name.

    The official code takes them as the file system lists them, so its order differs between
    machines.

    Raises ReclipError: a folder is missing, or `objectInfo150.txt` numbers the classes otherwise.
    """
    check_class_order(root / "objectInfo150.txt")
    photos = {split: _photos_of(root, name) for split, name in FOLDERS.items()}
    lists = "all photos of images/training and images/validation, by name"
    return Layout("ade", ADE_CLASSES, lists, OFFICIAL, photos)


def _photos_of(root: Path, name: str) -> list[Photo]:
    folder, masks = root / "images" / name, root / "annotations" / name
    if not folder.is_dir():
        raise ReclipError(f"there is no folder '{folder}': restore it")
    paths = sorted(path for path in folder.iterdir() if path.suffix in PHOTO_SUFFIXES)
    return [
        Photo(checked_id(p.stem, folder), p, masks / f"{p.stem}.png", read_label, TABLE)
        for p in paths
    ]


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
