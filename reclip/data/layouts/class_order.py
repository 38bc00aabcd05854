"""Checks that a set of PASCAL Context label maps numbers its classes as we do.

Copies in another order exist (VOC's 20 classes first, as in the dataset's own file of 59 classes).
Read in our order they give an mIoU near zero without any error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED, read_label
from reclip.data.layouts import voc
from reclip.data.layouts.class_names import (
    CONTEXT_CLASSES,
    CONTEXT_NAMES,
    CONTEXT_OTHER_SPELLINGS,
    VOC_CLASSES,
)
from reclip.data.layouts.layout import Photo

log = logging.getLogger(__name__)

# Our choices: enough photos to see all of VOC's classes, and tolerance for the few classes where
# the annotators may have labelled another object, such as a cloth on a table.
COMPARED = 200
LEAST_PIXELS = 100
AGREEING = 0.8

AS_VOC = {"dining table": "table"}  # all others have the same name in both


def check_names(names: dict[int, str], ids: Sequence[int], path: Path) -> None:
    """Compare a file's names of `ids` (the ids of class 0, 1, ...) with ours.

    Raises ReclipError: a name is missing or another one.
    """
    for id, ours in zip(ids, CONTEXT_NAMES, strict=True):
        theirs = names.get(id, "").replace(" ", "").lower()
        if CONTEXT_OTHER_SPELLINGS.get(theirs, theirs) != ours:
            raise ReclipError(
                f"'{path}' names class {id} '{names.get(id, '').strip()}', it is '{ours}' in "
                f"PASCAL Context: its classes are numbered in another order, get the official file"
            )


def check_against_voc(photos: Sequence[Photo], root: Path) -> None:
    """Compare the labels with VOC's own masks of the same photos, if they exist.

    On the pixels of most of VOC's classes, the most frequent class must have the same name. Without
    masks the log warns.

    Raises ReclipError: the names differ.
    """
    pairs = [
        (photo, replace(photo, source=mask, read_ids=read_label, table=voc.TABLE))
        for photo in photos
        if photo.labelled and (mask := voc.mask_of(root, photo.id)).is_file()
    ]
    if not pairs:
        log.warning(
            "'%s' has none of VOC's own masks (SegmentationClass) for these photos: the order of "
            "the classes could not be checked",
            root,
        )
        return
    votes = _count_pixels(pairs[:: -(-len(pairs) // COMPARED)])
    ours = [name for (name,) in CONTEXT_CLASSES]
    expected = [ours.index(AS_VOC.get(name, name)) for (name,) in VOC_CLASSES]
    seen = np.flatnonzero(votes.sum(axis=1) >= LEAST_PIXELS)
    found = votes.argmax(axis=1)
    wrong = [k for k in seen if found[k] != expected[k]]
    if len(seen) - len(wrong) < AGREEING * len(seen):
        k = wrong[0]
        raise ReclipError(
            f"the label maps, as '{pairs[0][0].source}', number their classes in another order "
            f"(where VOC's masks show '{VOC_CLASSES[k][0]}' they hold our number of "
            f"'{CONTEXT_CLASSES[found[k]][0]}', likewise for {len(wrong)} of {len(seen)} classes): "
            f"take trainval_merged.json or the maps of 459 classes, or renumber yours from "
            f"1 aeroplane, 2 bag alphabetically to 59 wood"
        )


def _count_pixels(pairs: Sequence[tuple[Photo, Photo]]) -> np.ndarray:
    """Return the number of pixels of each pair of classes in VOC and in Context, (20, 59)."""
    votes = np.zeros((len(VOC_CLASSES), len(CONTEXT_CLASSES)), np.int64)
    for in_context, in_voc in pairs:
        columns, rows = in_context.label().astype(int), in_voc.label().astype(int)
        both = (columns != IGNORED) & (rows != IGNORED)
        flat = rows[both] * votes.shape[1] + columns[both]
        votes += np.bincount(flat, minlength=votes.size).reshape(votes.shape)
    return votes
