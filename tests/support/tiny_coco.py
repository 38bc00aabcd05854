"""A tiny copy of COCO-Stuff in its official layout: three photos of 6×4 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from support.make_archives import zip_of

TRAIN, VAL = ["000000000009", "000000000025"], ["000000000139"]
FOLDERS = {"train2017": TRAIN, "val2017": VAL}

# Person, no class, stop sign (after an id that no map has), banner (the first kind of stuff), sky,
# wood (the last one); and the classes that stand for them in the two readings.
IDS = [0, 255, 12, 91, 156, 181]
OF_27 = [9, 255, 8, 17, 23, 24]
OF_171 = [0, 255, 11, 80, 145, 170]


def make_coco(base: Path) -> Path:
    """Make `<base>/coco` with `images` and `annotations`, and return the folder of the photos."""
    root = base / "coco"
    for folder, ids in FOLDERS.items():
        (root / "images" / folder).mkdir(parents=True)
        (root / "annotations" / folder).mkdir(parents=True)
        for id in ids:
            Image.new("RGB", (6, 4), (90, 80, 70)).save(root / "images" / folder / f"{id}.jpg")
            write_map(root / "annotations", folder, id, np.tile(np.array(IDS, np.uint8), (4, 1)))
    return root / "images"


def write_map(maps: Path, folder: str, id: str, ids: np.ndarray) -> None:
    Image.fromarray(ids).save(maps / folder / f"{id}.png")


def coco_archives(base: Path) -> dict[str, Path]:
    """Make the three official archives in `base`, by name."""
    root = make_coco(base / "for-archives").parent
    members = {
        "train2017.zip": [root / "images/train2017"],
        "val2017.zip": [root / "images/val2017"],
        "stuffthingmaps_trainval2017.zip": [root / "annotations" / folder for folder in FOLDERS],
    }
    return {
        name: zip_of(
            base / name,
            {f"{f.name}/{path.name}": path.read_bytes() for f in folders for path in f.iterdir()},
        )
        for name, folders in members.items()
    }
