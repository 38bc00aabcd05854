"""A tiny copy of ADE20K's benchmark in its official layout: three photos of 6×4 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from reclip.data.layouts.class_names import ADE_CLASSES

TRAIN, VAL = ["ADE_train_00000001", "ADE_train_00000002"], ["ADE_val_00000001"]
FOLDERS = {"training": TRAIN, "validation": VAL}


def make_ade(base: Path) -> Path:
    """Make and return `<base>/ADEChallengeData2016`."""
    root = base / "ADEChallengeData2016"
    for folder, ids in FOLDERS.items():
        (root / "images" / folder).mkdir(parents=True)
        (root / "annotations" / folder).mkdir(parents=True)
        for id in ids:
            Image.new("RGB", (6, 4), (90, 80, 70)).save(root / "images" / folder / f"{id}.jpg")
            write_mask(root, folder, id, np.tile(np.array([0, 1, 2, 150, 8, 0], np.uint8), (4, 1)))
    write_names(root, [f"{name}, other word" for (name,) in ADE_CLASSES])
    return root


def write_mask(root: Path, folder: str, id: str, ids: np.ndarray) -> None:
    Image.fromarray(ids).save(root / "annotations" / folder / f"{id}.png")


def write_names(root: Path, names: list[str]) -> None:
    """Write `objectInfo150.txt`, with blanks at odd places as in the official file."""
    rows = [f"{id} \t0.1\t10\t5\t{name} " for id, name in enumerate(names, 1)]
    (root / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tName", *rows]))
