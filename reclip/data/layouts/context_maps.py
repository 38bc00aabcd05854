"""PASCAL Context's labels as a folder of label maps, one file per photo.

Two numberings exist, and the maps themselves show which one they use:

    0..459   all classes of the dataset: its own `<id>.mat` (variable LabelMap), or `<id>.png`
    0..59    as mmsegmentation's `SegmentationClassContext`: `<id>.png`, 0 for no class and the 59
             classes in alphabetical order; 255 for no class is accepted, too
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED
from reclip.data.label_colours import LabelColours
from reclip.data.layouts.class_names import CONTEXT_CLASSES
from reclip.data.layouts.layout import at_or_below, read_ids, shown

USUAL = ("SegmentationClassContext", "trainval")  # mmsegmentation's name, and the dataset's own
SAMPLE = 200  # maps; in a real set of 459 classes, so many maps hold an id above 59


def find_maps(folder: Path) -> list[Path]:
    """Return the sorted label maps of `folder`, or of the folder up to two levels below.

    Raises ReclipError: no folder holds maps, or several do and their names do not decide.
    """
    found = {place: maps for place in at_or_below(folder) if (maps := _maps_in(place))}
    if folder in found:
        return found[folder]
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
    return sorted(shown(folder, "*.mat")) or sorted(shown(folder, "*.png"))


def hold_all_classes(maps: list[Path]) -> bool:
    """Return whether the maps are numbered 0..459, not 0..59.

    They are if a map holds an id above 59; .mat files always are. Only a sample is read. If another
    map holds such an id, reading it fails later.
    """
    if maps[0].suffix == ".mat":
        return True
    samples = map(read_ids, maps[:: -(-len(maps) // SAMPLE)])
    return any((ids[ids != IGNORED] > len(CONTEXT_CLASSES)).any() for ids in samples)


def read_names(maps: list[Path]) -> tuple[Path, dict[int, str]] | None:
    """Return the dataset's `labels.txt` (lines `12: name`) and its names; None if missing.

    It lies beside the maps or beside their folder.
    Raises ReclipError: a line has another form.
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


def read_mat(path: Path) -> np.ndarray:
    """Return the integer ids (H, W) in the variable LabelMap of a MATLAB file.

    Raises ReclipError: the file holds no such variable.
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


def reader_of(suffix: str) -> Callable[[Path], np.ndarray]:
    """Return the function that reads the ids of maps of one folder; their colours must agree."""
    return read_mat if suffix == ".mat" else partial(read_ids, colours=LabelColours())
