"""PASCAL Context, 59 classes: the photos of VOC 2010, and labels from another place."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED
from reclip.data.layouts import context_json, context_maps
from reclip.data.layouts.class_names import CONTEXT_ALL, CONTEXT_CLASSES, CONTEXT_IDS
from reclip.data.layouts.class_order import check_against_voc, check_names
from reclip.data.layouts.layout import SPLITS, IdTable, Layout, find_marked, listed_photos

JSON = "trainval_merged.json"

ALL = IdTable(CONTEXT_IDS, sorted({*range(CONTEXT_ALL + 1)} - {*CONTEXT_IDS}), "0..459")
FEW = IdTable(range(1, len(CONTEXT_CLASSES) + 1), (0, IGNORED), "0..59")

# The detail API's file has three photos fewer than the paper, which counts those of VOC 2010.
OFFICIAL_JSON = {"train": 4996, "val": 5104}
OFFICIAL_MAPS = {"train": 4998, "val": 5105}

find_root = partial(
    find_marked, marker="JPEGImages", wanted="photos of VOC 2010", usual="VOCdevkit/VOC2010"
)


def read(root: Path, labels: Path) -> Layout:
    """Return the photos under `root` with their labels; the order of the classes is checked.

    labels: the detail API's json file (or its folder), whose phases are the splits; or a folder of
        label maps (`context_maps`), used with the lists of VOC 2010.
    Raises ReclipError: labels, a photo or a list are missing, or the classes have another order.
    """
    file = labels / JSON if (labels / JSON).is_file() else labels
    if file.is_file():
        annotations = context_json.load(file)
        names = {category.category_id: category.name for category in annotations.categories}
        check_names(names, CONTEXT_IDS, file)
        photos = context_json.read_photos(annotations, file, root, ALL)
        lists, official = f"phases of {JSON}", OFFICIAL_JSON
    elif labels.is_dir():
        maps = context_maps.find_maps(labels)
        has_all = context_maps.hold_all_classes(maps)
        named = context_maps.read_names(maps) if has_all else None
        if named:
            check_names(named[1], CONTEXT_IDS, named[0])
        suffix = maps[0].suffix
        photos = listed_photos(
            root,
            "ImageSets/Main",
            lambda id: maps[0].with_name(id + suffix),
            context_maps.reader_of(suffix),
            ALL if has_all else FEW,
        )
        lists, official = "ImageSets/Main of VOC 2010", OFFICIAL_MAPS
    else:
        raise ReclipError(f"there is no '{labels}': change the dataset's source.labels")
    check_against_voc([photo for split in SPLITS for photo in photos[split]], root)
    return Layout("context", CONTEXT_CLASSES, lists, official, photos)
