"""Read the masks of an output folder of `reclip predict`, to hand them on to an annotation tool."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.common.text import nearest
from reclip.data.images import read_label
from reclip.inference.annotations.areas import Areas, split
from reclip.inference.inputs import names
from reclip.inference.model_info import INFO, ModelInfo
from reclip.inference.records import Record, read_records

FIX = "Run `reclip predict` again."


@dataclass(frozen=True)
class Photo:
    """A photo with a mask.

    Attributes:
        file: path of the photo below the folder of all photos, with "/".
        name: `file` without suffix; with suffix if two names would be equal.
        record: what was found in the photo.
    """

    file: str
    name: str
    record: Record


@dataclass
class Results:
    """The masks of an output folder, and what of them is handed on.

    Attributes:
        out: the output folder.
        info: the model that made the masks.
        root: folder of all photos; annotations name a photo by its path below it.
        photos: all photos, by name.
        classes: numbers of the classes that are handed on.
        regions: make an area of each connected region, instead of one of each class.
        on_read: called for each mask that is read.
    """

    out: Path
    info: ModelInfo
    root: Path
    photos: tuple[Photo, ...]
    classes: tuple[int, ...]
    regions: bool
    on_read: Callable[[], object] = lambda: None
    _last: tuple[Photo, Areas] | None = field(default=None, repr=False)

    def areas(self, photo: Photo) -> Areas:
        """Return the areas of a photo's mask. Those of the last photo are kept in memory.

        Raises ReclipError: the mask is missing, or is not the one that was predicted.
        """
        if self._last is None or self._last[0] is not photo:
            self._last = photo, split(self._mask(photo.record), self.classes, self.regions)
            self.on_read()
        return self._last[1]

    def _mask(self, record: Record) -> np.ndarray:
        path = self.out / record.mask
        if not path.is_file():
            raise ReclipError(f"Cannot read '{path}': it is missing. {FIX}")
        if file_sha256(path) != record.mask_sha256:
            raise ReclipError(
                f"Cannot use '{path}': it was changed after `reclip predict` wrote it. {FIX}"
            )
        mask = read_label(path)
        if mask.shape != (record.height, record.width) or mask.max() >= len(self.info.classes):
            raise ReclipError(f"Cannot use '{path}': it does not fit its record. {FIX}")
        return mask


def read_results(
    out: Path, *, skip: Sequence[str] = (), regions: bool = False, root: Path | None = None
) -> Results:
    """Return the results of an output folder of `reclip predict`. The photos are not needed.

    skip: names of classes that are not handed on.
    root: folder of all photos. None: the deepest folder that holds all of them.
    Raises ReclipError: `out` holds no results, or they are damaged, a class of `skip` is unknown,
    no class is left, or a photo does not lie below `root`.
    """
    path = out / INFO
    if not path.is_file():
        raise ReclipError(f"'{out}' is not an output folder of `reclip predict`: it has no {INFO}")
    info, records = ModelInfo.parse(path.read_bytes(), path), read_records(out)
    if not records:
        raise ReclipError(f"'{out}' has no results: run `reclip predict` with --out '{out}' first")
    for record in records:
        if len(record.pixels) != len(info.classes):
            raise ReclipError(f"The record of '{record.name}' is of another model. {FIX}")
    for name in skip:
        if name not in info.class_names:
            raise ReclipError(f"--skip: no class '{name}'{nearest(name, info.class_names)}")
    classes = tuple(k for k, name in enumerate(info.class_names) if name not in skip)
    if not classes:
        raise ReclipError("--skip: no class is left: skip fewer classes")
    paths = [Path(os.path.abspath(record.photo)) for record in records]
    root = root or Path(os.path.commonpath([path.parent for path in paths]))
    root = Path(os.path.abspath(root))
    for path in paths:
        if not path.is_relative_to(root):
            raise ReclipError(f"--root: '{path}' is not in '{root}': name a folder of all photos")
    photos = tuple(
        Photo(path.relative_to(root).as_posix(), name, record)
        for path, name, record in zip(paths, names(paths, str(root)), records, strict=True)
    )
    return Results(out, info, root, photos, classes, regions)
