"""A tiny copy of Cityscapes in its official layout: four photos of 6×4 pixels in three cities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from support.make_archives import zip_of

TRAIN = ["aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000313"]
VAL = ["frankfurt_000000_000294"]
SPLITS = {"train": TRAIN, "val": VAL}

# Unlabeled, road, bridge (ignored by the benchmark), car, train (after two that it ignores),
# bicycle; and their classes.
IDS = [0, 7, 15, 26, 31, 33]
CLASSES = [255, 0, 255, 13, 16, 18]


def make_cityscapes(base: Path) -> Path:
    """Make and return `<base>/cityscapes`, with a test split, whose maps hold no class."""
    root = base / "cityscapes"
    for split, ids in {**SPLITS, "test": ["berlin_000000_000019"]}.items():
        for id in ids:
            photo = root / "leftImg8bit" / split / id.split("_")[0] / f"{id}_leftImg8bit.png"
            photo.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (6, 4), (90, 80, 70)).save(photo)
            write_map(root, split, id, np.tile(np.array(IDS, np.uint8), (4, 1)))
            for other in ("color", "instanceIds"):  # are also in the official archive
                path = map_path(root, split, id, other)
                Image.new("RGBA", (6, 4), (0, 0, 142, 255)).save(path)
    return root


def map_path(root: Path, split: str, id: str, kind: str = "labelIds") -> Path:
    return root / "gtFine" / split / id.split("_")[0] / f"{id}_gtFine_{kind}.png"


def write_map(root: Path, split: str, id: str, ids: np.ndarray, kind: str = "labelIds") -> None:
    path = map_path(root, split, id, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids).save(path)


def cityscapes_archives(base: Path) -> dict[str, Path]:
    """Make the two official archives in `base`, by name; both have a licence and a README."""
    root = make_cityscapes(base / "for-archives")
    made = {}
    for folder in ("leftImg8bit", "gtFine"):
        files = [path for path in (root / folder).rglob("*") if path.is_file()]
        members = {str(path.relative_to(root)): path.read_bytes() for path in files}
        name = f"{folder}_trainvaltest.zip"
        made[name] = zip_of(base / name, {"README": b"-", "license.txt": b"-", **members})
    return made
