"""A tiny copy of VOC 2010 with PASCAL Context's labels in each of their forms.

Each of six photos of 48×32 pixels shows six upright stripes of 8: four classes of VOC (all 20 are
seen), the sky, and something that is none of the 59 classes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths
from scipy.io import savemat

from reclip.data.layouts.class_names import CONTEXT_CLASSES, CONTEXT_IDS, CONTEXT_NAMES, VOC_CLASSES

TRAIN = [f"2008_00000{i}" for i in range(1, 5)]
VAL = ["2009_000001", "2010_000001"]
IDS = TRAIN + VAL
HEIGHT, WIDTH, STRIPE = 32, 48, 8

# Index among Context's classes of each of VOC's; an id that is none of the 59 (accordion), the sky.
OF_VOC = [
    [name for (name,) in CONTEXT_CLASSES].index("table" if voc == "dining table" else voc)
    for (voc,) in VOC_CLASSES
]
ACCORDION, SKY = 1, 360


def voc_classes(number: int) -> list[int]:
    """Return the indices of the four VOC classes in a photo."""
    return [(4 * number + i) % len(VOC_CLASSES) for i in range(4)]


def stripes(values: list[int]) -> np.ndarray:
    """Return (H, W) with each value in a stripe."""
    return np.tile(np.repeat(np.array(values, np.uint16), STRIPE), (HEIGHT, 1))


def all_ids(number: int) -> np.ndarray:
    """Return the label map in ids 0..459."""
    return stripes([*(CONTEXT_IDS[OF_VOC[k]] for k in voc_classes(number)), SKY, ACCORDION])


def classes(number: int) -> np.ndarray:
    """Return the expected label map: class indices, 255 for no class."""
    sky = CONTEXT_IDS.index(SKY)
    return stripes([*(OF_VOC[k] for k in voc_classes(number)), sky, 255]).astype(np.uint8)


def make_voc2010(base: Path, name: str = "VOC2010") -> Path:
    """Make and return `<base>/VOCdevkit/<name>`: photos, lists, and VOC's own masks."""
    root = base / "VOCdevkit" / name
    for folder in ("ImageSets/Main", "JPEGImages", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for split, ids in (("train", TRAIN), ("val", VAL)):
        (root / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{id}\n" for id in ids))
    for number, id in enumerate(IDS):
        Image.new("RGB", (WIDTH, HEIGHT), (9, 80, 70)).save(root / "JPEGImages" / f"{id}.jpg")
        mask = stripes([*(k + 1 for k in voc_classes(number)), 0, 255]).astype(np.uint8)
        Image.fromarray(mask).save(root / "SegmentationClass" / f"{id}.png")
    return root


def region(id: str, category: int, mask: np.ndarray) -> dict[str, Any]:
    """Return an entry of `annos_segmentation`, with some of the real one's unused keys."""
    packed = run_lengths.encode(np.asfortranarray(mask.astype(np.uint8)))
    packed = {"size": packed["size"], "counts": packed["counts"].decode()}
    parts = [{"part_id": 255, "segmentation": packed}]
    return {
        "id": 1, "image_id": int(id.replace("_", "")), "category_id": category,
        "segmentation": packed, "area": int(mask.sum()), "bbox": [0, 0, 1, 1], "iscrowd": 0,
        "parts": parts,
    }  # fmt: skip


def annotations_of(labels: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """Return `trainval_merged.json` for label maps in ids 0..459, by split and photo."""
    names = [*zip(CONTEXT_IDS, CONTEXT_NAMES, strict=True), (ACCORDION, "accordion")]
    return {
        "info": {"version": "4.0"},
        "images": [
            {"image_id": int(id.replace("_", "")), "file_name": f"{id}.jpg", "phase": split,
             "height": label.shape[0], "width": label.shape[1], "date_captured": "31-May-2015"}
            for split, maps in labels.items() for id, label in maps.items()
        ],
        "annos_segmentation": [
            region(id, int(k), label == k)
            for maps in labels.values() for id, label in maps.items() for k in np.unique(label)
        ],
        "categories": [
            {"category_id": id, "name": name, "supercategory": "object", "onlysemantic": 0,
             "parts": []}
            for id, name in names
        ],
    }  # fmt: skip


def annotations() -> dict[str, Any]:
    """Return the content of `trainval_merged.json`, with photos not sorted by id."""
    maps = {id: all_ids(number) for number, id in enumerate(IDS)}
    content = annotations_of(
        {
            "val": {id: maps[id] for id in reversed(VAL)},
            "train": {id: maps[id] for id in reversed(TRAIN)},
        }
    )
    other = {"image_id": 1, "file_name": "2008_999999.jpg", "phase": "test"}
    content["images"].append({**content["images"][0], **other})
    edges = {"indices": [[1, 2, 3]], "edgelabel": [1]}
    content["annos_occlusion"] = [{"image_id": 1, "ne": 1, "imsize": [4, 6], "edges": edges}]
    content["parts"] = [{"part_id": 1, "name": "head", "superpart": "none"}]
    return content


def make_json(folder: Path, content: Any = None) -> Path:
    path = folder / "trainval_merged.json"
    path.write_text(json.dumps(annotations() if content is None else content))
    return path


def make_mat(folder: Path) -> Path:
    """Write the dataset's own maps, as in its archive: `labels.txt`, `trainval/<id>.mat`."""
    (folder / "trainval").mkdir(parents=True)
    names = dict.fromkeys(range(1, 460), "thing")
    names |= zip(CONTEXT_IDS, CONTEXT_NAMES, strict=True)
    (folder / "labels.txt").write_text("".join(f"{id}: {name}\n" for id, name in names.items()))
    for number, id in enumerate(IDS):
        savemat(folder / "trainval" / f"{id}.mat", {"LabelMap": all_ids(number)})
    return folder


def make_png_459(folder: Path) -> Path:
    """Write maps of all ids as PNG: 8 bits if all ids fit, else 16."""
    folder.mkdir(parents=True)
    for number, id in enumerate(IDS):
        Image.fromarray(all_ids(number)).save(folder / f"{id}.png")
    return folder


def make_png_59(folder: Path, order: list[int] | None = None, none: int = 0) -> Path:
    """Write maps as mmsegmentation does; `order`: the class of number 1, 2, ... if not ours."""
    folder.mkdir(parents=True)
    number_of = np.full(256, none, np.uint8)
    number_of[order or list(range(59))] = np.arange(1, 60)
    for number, id in enumerate(IDS):
        Image.fromarray(number_of[classes(number)]).save(folder / f"{id}.png")
    return folder


def voc_first() -> list[int]:
    """Return the other order in use: VOC's classes, then the rest."""
    return [*OF_VOC, *(k for k in range(59) if k not in OF_VOC)]
