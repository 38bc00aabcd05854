"""A person's folder of photos, with or without labels for some others (see `FolderSource`)."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from reclip.common.errors import ReclipError
from reclip.common.prefetch import prefetch
from reclip.common.tables import write_table
from reclip.common.text import listed
from reclip.config.classes import in_other_scripts
from reclip.config.sources import FolderSource
from reclip.data.images import IGNORED, read_image, read_label, write_label
from reclip.data.index import Item, write_dataset
from reclip.data.layouts.layout import IdTable, Photo
from reclip.data.photos import list_photos, photo_id, require_apart

log = logging.getLogger(__name__)

LEFT_OUT = "left-out.csv"
LEFT_OUT_COLUMNS = ("image", "reason")


def prepare_folder(source: FolderSource, folder: Path, loaders: int = 0) -> list[Path]:
    """Index the photos where they are; every one is read, and what cannot be is left out.

    Which ones, and why, the log says and `left-out.csv` beside the index. The train split has no
    labels at all.
    loaders: threads that read photos.
    Raises ReclipError: no photo is left, or a val photo and a label that do not belong together.
    """
    if foreign := in_other_scripts(source.classes):
        log.warning("CLIP has learned English captions, hardly %s", listed(foreign))
    left_out: list[tuple[Path, str]] = []
    train = _readable(source.images, "source.images", source.limit, left_out, loaders)
    val = [] if source.val_images is None else _labelled(source, folder, left_out, loaders)
    for path, reason in left_out:
        log.warning("left out %s: %s", path, reason)
    write_table(folder / LEFT_OUT, LEFT_OUT_COLUMNS, left_out)
    facts = {
        "names": [list(names) for names in source.classes],
        "kind": "folder",
        "lists": f"the files in '{source.images}'",
        "counts": {"train": len(train), "val": len(val)},
        "left_out": len(left_out),
    }
    index = write_dataset(folder, facts, train, val, [], labelled=source.labelled)
    return [*(item.label for item in val), *index, folder / LEFT_OUT]


def _labelled(
    source: FolderSource, folder: Path, left_out: list[tuple[Path, str]], loaders: int
) -> list[Item]:
    """The val photos, with their label maps checked and written to `labels` in `folder`."""
    folders = {"source.val_images": source.val_images, "source.val_labels": source.val_labels}
    require_apart(source.images, folders)
    last = len(source.classes) - 1
    table = IdTable(range(last + 1), (IGNORED,), f"0..{last} and {IGNORED}")
    labels, items, known = label_pairs(source), [], False
    for item in _readable(source.val_images, "source.val_images", source.limit, left_out, loaders):
        label, path = labels[item.image], folder / "labels" / f"{item.id}.png"
        pair = Photo(item.id, item.image, label, partial(_read_ids, label, table))
        ids = pair.label()
        known = known or bool((ids != IGNORED).any())
        write_label(path, ids, len(source.classes))
        items.append(replace(item, label=path))
    if not known:
        raise ReclipError(
            f"params: 'source.val_labels': the label maps in '{source.val_labels}' hold "
            f"{IGNORED}, which is none, and no class: write class ids from 0 to {last} into them"
        )
    return items


def _readable(
    images: str, option: str, limit: int | None, left_out: list[tuple[Path, str]], loaders: int
) -> list[Item]:
    """The photos of a folder that can be read, with their sizes; the others go to `left_out`."""
    paths = list_photos(images, option)[:limit]
    if not paths:
        raise ReclipError(
            f"params: '{option}': '{images}' holds no photo: put JPEG, PNG, TIFF, WEBP or BMP "
            f"files there, or name another folder"
        )
    items, bad = [], []
    for path, found in prefetch(paths, _size, loaders):
        if isinstance(found, str):
            bad.append((path, found))
        else:
            items.append(Item(photo_id(path, images), path, *found))
    if not items:
        raise ReclipError(
            f"params: '{option}': none of the {len(paths)} photos in '{images}' can be read "
            f"(the first: {bad[0][1]}): replace them"
        )
    left_out += bad
    return items


def _size(path: Path) -> tuple[int, int] | str:
    """(H, W) of a photo that can be read to its last pixel, or what keeps it from being read."""
    try:
        return read_image(path).shape[:2]
    except ReclipError as error:
        return str(error)


def label_pairs(source: FolderSource) -> dict[Path, Path]:
    """Each val photo with its label map's path.

    Raises ReclipError: a photo without a map, or a map without a photo.
    """
    photos_in, labels_in = (Path(p).expanduser() for p in (source.val_images, source.val_labels))
    photos = list_photos(photos_in, "source.val_images")
    labels = list_photos(labels_in, "source.val_labels")
    wanted = {p: labels_in / p.relative_to(photos_in).with_suffix(".png") for p in photos}
    if missing := [path for path, label in wanted.items() if not label.is_file()]:
        raise ReclipError(
            f"{len(missing)} of {len(photos)} val photos have no label map, as '{missing[0]}', "
            f"which needs '{wanted[missing[0]]}': add it or take the photo away"
        )
    if alone := sorted(set(labels) - set(wanted.values())):
        raise ReclipError(
            f"{len(alone)} of {len(labels)} label maps belong to no val photo, as '{alone[0]}': "
            f"add its photo to '{photos_in}' or take it away"
        )
    if twins := len(wanted) - len(set(wanted.values())):
        raise ReclipError(
            f"{twins} val photos share a label map with another of the same name in "
            f"'{photos_in}': rename one of each pair"
        )
    return wanted


def _read_ids(path: Path, table: IdTable) -> np.ndarray:
    return table.convert(read_label(path), path)
