"""The user's own folder of photos, with or without labelled val photos (see `FolderSource`)."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reclip.common.errors import ReclipError
from reclip.common.prefetch import prefetch
from reclip.common.tables import write_table
from reclip.common.text import listed, printable
from reclip.config.classes import in_other_scripts
from reclip.config.sources import FolderSource
from reclip.data.images import IGNORED, read_image, read_label, write_label
from reclip.data.index import Item, write_dataset
from reclip.data.label_colours import LabelColours
from reclip.data.layouts.layout import IdTable, Photo
from reclip.data.photos import list_photos, photo_id, require_apart

log = logging.getLogger(__name__)

LEFT_OUT = "left-out.csv"
LEFT_OUT_COLUMNS = ("image", "reason")
WARNINGS = "warnings.csv"
WARNINGS_COLUMNS = ("about", "warning")


def prepare_folder(source: FolderSource, folder: Path, loaders: int = 0) -> list[Path]:
    """Index the photos in place; return all files written.

    Every photo is read. An unreadable photo is left out; the log and `left-out.csv` say which and
    why. The log and `warnings.csv` say what is read but probably not as it is meant. The train
    split has no labels.

    loaders: threads that read photos.
    Raises ReclipError: no photo can be read, or a val photo and its label do not match.
    """
    if foreign := in_other_scripts(source.classes):
        log.warning("CLIP has learned English captions, hardly %s", listed(foreign))
    said = _Said([], [])
    train = _readable(source, "images", said, loaders)
    val = _labelled(source, folder, said, loaders) if source.labelled else []
    for path, reason in said.left_out:
        log.warning("left out %s: %s", path, reason)
    for _, warning in said.warnings:
        log.warning("%s", warning)
    write_table(folder / LEFT_OUT, LEFT_OUT_COLUMNS, said.left_out)
    write_table(folder / WARNINGS, WARNINGS_COLUMNS, said.warnings)
    facts = {
        "names": [list(names) for names in source.classes],
        "kind": "folder",
        "lists": f"the files in '{source.images}'",
        "left_out": len(said.left_out),
    }
    outputs = write_dataset(folder, facts, train, val, labelled=source.labelled)
    return [*outputs, folder / LEFT_OUT, folder / WARNINGS]


class _Said(NamedTuple):
    """Rows of `left-out.csv` and `warnings.csv`: a path as it can be printed, and a sentence."""

    left_out: list[tuple[str, str]]
    warnings: list[tuple[str, str]]


def _labelled(source: FolderSource, folder: Path, said: _Said, loaders: int) -> list[Item]:
    """Return the val photos; check their label maps and write them to `labels` in `folder`."""
    folders = {"source.val_images": source.val_images, "source.val_labels": source.val_labels}
    require_apart(source.images, folders)
    last = len(source.classes) - 1
    table = IdTable(range(last + 1), (IGNORED,), f"0..{last} and {IGNORED}")
    read_ids = partial(read_label, colours=LabelColours())
    labels, items, held = label_pairs(source), [], np.zeros(IGNORED + 1, bool)
    for item in _readable(source, "val_images", said, loaders):
        ids = Photo(item.id, item.image, labels[item.image], read_ids, table).label()
        held[np.unique(ids)] = True
        items.append(replace(item, label=folder / "labels" / f"{item.id}.png"))
        write_label(items[-1].label, ids, len(source.classes))
    absent = _absent(source, set(np.flatnonzero(held).tolist()))
    said.warnings.extend((printable(source.val_labels), warning) for warning in absent)
    return items


def _absent(source: FolderSource, held: set[int]) -> list[str]:
    """Return a warning for each class whose number no label map holds.

    held: the numbers that the maps hold.
    Raises ReclipError: the numbers are only "no class", or look like black and white.
    """
    place = f"params: 'source.val_labels': the label maps in '{source.val_labels}'"
    names = [of_class[0] for of_class in source.classes]
    if held == {IGNORED}:
        raise ReclipError(
            f"{place} hold only {IGNORED}, which is no class: write class ids from 0 to "
            f"{len(names) - 1} into them"
        )
    if held == {0, IGNORED}:
        raise ReclipError(
            f"{place} hold only 0 and {IGNORED}, like black-and-white masks, but {IGNORED} is no "
            f"class: write 1 for '{names[1]}' if white shows it, or add a map that holds another "
            f"class than '{names[0]}'"
        )
    return [
        f"no label map holds class {number} '{name}': it cannot be evaluated; check the numbers"
        for number, name in enumerate(names)
        if number not in held
    ]


def _readable(source: FolderSource, key: str, said: _Said, loaders: int) -> list[Item]:
    """Return the readable photos of the folder in `key`, with their sizes; extend `said`."""
    images = getattr(source, key)
    paths = list_photos(images, f"source.{key}")[: source.limit]
    if not paths:
        raise ReclipError(
            f"params: 'source.{key}': '{images}' holds no photo: put JPEG, PNG, TIFF, WEBP or BMP "
            f"files there, or name another folder"
        )
    items, bad = [], []
    for path, found in prefetch(paths, _size, loaders):
        if isinstance(found, str):
            bad.append((printable(path), found))
        else:
            size, warnings = found
            items.append(Item(photo_id(path, images), path, *size))
            said.warnings.extend((printable(path), warning) for warning in warnings)
    if not items:
        raise ReclipError(
            f"params: 'source.{key}': none of the {len(paths)} photos in '{images}' can be read "
            f"(the first: {bad[0][1]}): replace them"
        )
    said.left_out.extend(bad)
    return items


def _size(path: Path) -> tuple[tuple[int, int], list[str]] | str:
    """Return (H, W) of a photo that is readable to its last pixel, and warnings.

    If it cannot be read, return the error in words.
    """
    warnings: list[str] = []
    try:
        return read_image(path, warnings.append).shape[:2], warnings
    except ReclipError as error:
        return str(error)


def label_pairs(source: FolderSource) -> dict[Path, Path]:
    """Return the label map's path of each val photo.

    Raises ReclipError: a photo has no map, a map has no photo, or two photos share one.
    """
    photos_in, labels_in = (Path(p).expanduser() for p in (source.val_images, source.val_labels))
    photos = list_photos(photos_in, "source.val_images")
    labels = list_photos(labels_in, "source.val_labels")
    wanted = {p: labels_in / p.relative_to(photos_in).with_suffix(".png") for p in photos}
    if missing := [path for path, label in wanted.items() if not label.is_file()]:
        raise ReclipError(
            f"{len(missing)} of {len(photos)} val photos have no label map, as '{missing[0]}', "
            f"which needs '{wanted[missing[0]]}': add it or remove the photo"
        )
    if alone := sorted(set(labels) - set(wanted.values())):
        raise ReclipError(
            f"{len(alone)} of {len(labels)} label maps belong to no val photo, as '{alone[0]}': "
            f"add its photo to '{photos_in}' or remove the map"
        )
    if twins := len(wanted) - len(set(wanted.values())):
        raise ReclipError(
            f"{twins} val photos share a label map with another of the same name in "
            f"'{photos_in}': rename one of each pair"
        )
    return wanted
