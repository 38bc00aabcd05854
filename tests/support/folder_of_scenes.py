"""A user's folder: drawn scenes as photos, with or without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from reclip.common.tables import read_table
from reclip.config.load import validate
from reclip.config.sources import FolderSource
from reclip.data.folder import LEFT_OUT, LEFT_OUT_COLUMNS, prepare_folder
from reclip.data.images import write_image, write_label
from reclip.data.index import DataSet
from reclip.data.world.scenes import WORLDS, draw_scene, scene_rng
from support.at_the_shell import small

WORLD = WORLDS["voc"]
NAMES = WORLD.class_names
SIZE = (48, 56)


def draw(folder: Path, count: int, split: str = "train", labels: Path | None = None) -> list[Path]:
    """Draw `count` scenes as PNGs of SIZE in `folder`, every third in a subfolder."""
    paths = []
    for i in range(count):
        image, label = draw_scene(WORLD, scene_rng(7, split, i), SIZE)
        inside = f"more/{i}.png" if i % 3 == 2 else f"{i}.png"
        write_image(folder / inside, image)
        if labels:
            write_label(labels / inside, label, len(NAMES))
        paths.append(folder / inside)
    return paths


def source(**more: Any) -> dict[str, Any]:
    return {"kind": "folder", "images": "photos", "classes": list(NAMES), **more}


LABELLED = {"val_images": "val", "val_labels": "labels"}


def params(given: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return settings of a rectified run and its student, as from `reclip init folder`."""
    runs = {
        "query": None,
        "rectified": {"dataset": "voc", "method": "rectify"},
        "distilled": {"dataset": "voc", "method": "distill", "teacher": "rectified"},
    }
    seeds = {"rectify": [0], "distill": [0]}
    return small(given or source(), runs=runs, seeds=seeds, **changes)


def grey(path: Path, size: tuple[int, int] = (6, 4), **options) -> Path:
    """Write a photo of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 80, 70)).save(path, **options)
    return path


def prepared(**given: Any) -> DataSet:
    """Prepare the folder `photos` here."""
    prepare_folder(validate(FolderSource, source(**given)), Path("data"))
    return DataSet(Path("data"))


def left_out() -> list[str]:
    """Return the photos that `prepared` left out."""
    return [row["image"] for row in read_table(Path("data") / LEFT_OUT, LEFT_OUT_COLUMNS)]
