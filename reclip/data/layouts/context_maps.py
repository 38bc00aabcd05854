"""PASCAL Context's labels as a folder of label maps, a file a photo.

Two numberings are in use, and the maps themselves say which one theirs is:

    0..459   all classes of the dataset: its own `<id>.mat` (variable LabelMap), or `<id>.png`
    0..59    as mmsegmentation's `SegmentationClassContext`: `<id>.png`, 0 for none and the 59
             classes in alphabetical order; 255 for none is accepted, too
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED
from reclip.data.layouts.class_names import CONTEXT_CLASSES
from reclip.data.layouts.layout import SPLITS, IdTable, Photo, listed_photo, read_ids, read_list

USUAL = ("SegmentationClassContext", "trainval")  # mmsegmentation's name, and the dataset's own
LOOKED_AT = 200  # maps: a set of 459 classes in which so many hold none above 59 is no real one


def find_maps(folder: Path) -> list[Path]:
    """The maps, sorted, of the folder that holds some, at `folder` or up to two levels below.

    Raises ReclipError: no such folder, or several of which none or more than one has a usual name.
    """
    if maps := _maps_in(folder):
        return maps
    below = [*sorted(folder.glob("*/")), *sorted(folder.glob("*/*/"))]
    found = {place: maps for place in below if (maps := _maps_in(place))}
    places = [place for place in found if place.name in USUAL] or list(found)
    if not places:
        raise ReclipError(
            f"'{folder}' holds no label maps (.mat or .png): point source.labels to those of "
            f"PASCAL Context, or to its trainval_merged.json"
        )
    if len(places) > 1:
        raise ReclipError(
            f"'{places[0]}' and '{places[1]}' may both be the label maps of PASCAL Context: "
            f"point source.labels to one of them"
        )
    return found[places[0]]


def _maps_in(folder: Path) -> list[Path]:
    """The .mat, or if there are none the .png; sorted."""
    return sorted(folder.glob("*.mat")) or sorted(folder.glob("*.png"))


def hold_all_classes(maps: list[Path]) -> bool:
    """Whether the maps are numbered 0..459, not 0..59.

    If some map holds an id above 59 they are; .mat files always are. Only some maps are looked at:
    should another one hold such an id after all, reading it fails.
    """
    if maps[0].suffix == ".mat":
        return True
    step = -(-len(maps) // LOOKED_AT)
    for path in maps[::step]:
        ids = read_ids(path)
        if (ids[ids != IGNORED] > len(CONTEXT_CLASSES)).any():
            return True
    return False


def read_names(maps: list[Path]) -> tuple[Path, dict[int, str]] | None:
    """The dataset's list of all its classes, lines `12: name`, beside the maps or their folder.

    Raises ReclipError: a line of another form.
    """
    for folder in maps[0].parents[:2]:
        path = folder / "labels.txt"
        if path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            try:
                pairs = [line.split(":", 1) for line in lines if line.strip()]
                return path, {int(id): name for id, name in pairs}
            except ValueError as error:
                raise ReclipError(
                    f"'{path}' has a line that is not 'number: name' ({error}): restore it"
                ) from error
    return None


def read_photos(maps: list[Path], root: Path, table: IdTable) -> dict[str, list[Photo]]:
    """The photos that `ImageSets/Main/{train,val}.txt` of VOC 2010 list, in their order.

    Raises ReclipError: no such list, or a listed photo is missing.
    """
    photos = {}
    for split in SPLITS:
        listing = root / "ImageSets" / "Main" / f"{split}.txt"
        photos[split] = []
        for id in read_list(listing):
            path = maps[0].with_name(id + maps[0].suffix)
            photo = listed_photo(root / "JPEGImages", id, listing)
            photos[split].append(Photo(id, photo, path, partial(read_label, path, table)))
    return photos


def read_label(path: Path, table: IdTable) -> np.ndarray:
    """Class indices, uint8 (H, W).

    Raises ReclipError: no such file, or an id that the numbering lacks.
    """
    return table.convert(read_mat(path) if path.suffix == ".mat" else read_ids(path), path)


def read_mat(path: Path) -> np.ndarray:
    """The integer ids (H, W) of a MATLAB file's variable LabelMap.

    Raises ReclipError: no such file.
    """
    try:
        ids = loadmat(path, variable_names=["LabelMap"])["LabelMap"]
    except Exception as error:  # a damaged file raises errors of a dozen types
        raise ReclipError(
            f"'{path}' cannot be read as a MATLAB file with a LabelMap ({error}): get it again"
        ) from error
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise ReclipError(f"the LabelMap of '{path}' is not one whole number a pixel: get it again")
    return ids
