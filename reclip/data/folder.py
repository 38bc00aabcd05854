"""The user's own folder of photos, with or without labelled val photos (see `FolderSource`)."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

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
    """Index the photos in place; return all files written.

    Every photo is read. An unreadable photo is left out; the log and `left-out.csv` say which and
    why. The train split has no labels.

    loaders: threads that read photos.
    Raises ReclipError: no photo can be read, or a val photo and its label do not match.
    """
    if foreign := in_other_scripts(source.classes):
        log.warning("CLIP has learned English captions, hardly %s", listed(foreign))
    left_out: list[tuple[Path, str]] = []
    train = _readable(source, "images", left_out, loaders)
    val = _labelled(source, folder, left_out, loaders) if source.labelled else []
    for path, reason in left_out:
        log.warning("left out %s: %s", path, reason)
    write_table(folder / LEFT_OUT, LEFT_OUT_COLUMNS, left_out)
    facts = {
        "names": [list(names) for names in source.classes],
        "kind": "folder",
        "lists": f"the files in '{source.images}'",
        "left_out": len(left_out),
    }
    outputs = write_dataset(folder, facts, train, val, labelled=source.labelled)
    return [*outputs, folder / LEFT_OUT]


def _labelled(
    source: FolderSource, folder: Path, left_out: list[tuple[Path, str]], loaders: int
) -> list[Item]:
    """Return the val photos; check their label maps and write them to `labels` in `folder`."""
    folders = {"source.val_images": source.val_images, "source.val_labels": source.val_labels}
    require_apart(source.images, folders)
    last = len(source.classes) - 1
    table = IdTable(range(last + 1), (IGNORED,), f"0..{last} and {IGNORED}")
    labels, items, any_class = label_pairs(source), [], False
    for item in _readable(source, "val_images", left_out, loaders):
        ids = Photo(item.id, item.image, labels[item.image], read_label, table).label()
        any_class = any_class or bool((ids != IGNORED).any())
        items.append(replace(item, label=folder / "labels" / f"{item.id}.png"))
        write_label(items[-1].label, ids, len(source.classes))
    if not any_class:
        raise ReclipError(
            f"params: 'source.val_labels': the label maps in '{source.val_labels}' hold only "
            f"{IGNORED}, which is no class: write class ids from 0 to {last} into them"
        )
    return items


def _readable(
    source: FolderSource, key: str, left_out: list[tuple[Path, str]], loaders: int
) -> list[Item]:
    """Return the readable photos of the folder in `key`, with their sizes; extend `left_out`."""
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
            bad.append((path, found))
        else:
            items.append(Item(photo_id(path, images), path, *found))
    if not items:
        raise ReclipError(
            f"params: 'source.{key}': none of the {len(paths)} photos in '{images}' can be read "
            f"(the first: {bad[0][1]}): replace them"
        )
    left_out += bad
    return items


def _size(path: Path) -> tuple[int, int] | str:
    """Return (H, W) of a photo that is readable to its last pixel, else the error in words."""
    try:
        return read_image(path).shape[:2]
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
