"""Divide a mask into areas: one of each class, or one of each connected region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage

TOUCHING = np.ones((3, 3))  # pixels that share a corner belong together, so thin lines stay whole


class Areas(NamedTuple):
    """The areas of one mask.

    Attributes:
        labels: int32 (H, W), the number of each pixel's area, from 1; 0 is in none.
        classes: class number of each area, int64 (N,); areas are in the order of their classes.
    """

    labels: np.ndarray
    classes: np.ndarray

    def by_class(self) -> Areas:
        """Return one area of each class."""
        classes, number = np.unique(self.classes, return_inverse=True)
        return Areas(np.concatenate(([0], number + 1)).astype(np.int32)[self.labels], classes)

    def boxes(self) -> list[tuple[slice, slice]]:
        """Return the rows and columns that hold each area."""
        return ndimage.find_objects(self.labels)

    def runs(self, order: Literal["C", "F"]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return where the runs of each area begin, and their lengths, in pixels.

        order: "C" counts the pixels row by row, "F" column by column.
        """
        pixels = self.labels.ravel(order)
        starts = np.concatenate(([0], np.flatnonzero(np.diff(pixels)) + 1))
        lengths = np.diff(starts, append=pixels.size)
        area = pixels[starts]
        by_area = np.argsort(area, kind="stable")
        ends = np.searchsorted(area[by_area], np.arange(len(self.classes) + 1), side="right")
        return [(starts[run], lengths[run]) for run in np.split(by_area, ends)[1:-1]]


def split(mask: np.ndarray, classes: Sequence[int], regions: bool) -> Areas:
    """Return the areas of some classes of a mask.

    mask: class numbers, uint8 (H, W).
    classes: class numbers; pixels of others are in no area.
    regions: divide a class into regions of pixels that share a side or a corner.
    """
    present = [k for k in np.flatnonzero(np.bincount(mask.ravel())) if k in set(classes)]
    if not regions:
        number = np.zeros(256, np.int32)
        number[present] = np.arange(1, len(present) + 1)
        return Areas(number[mask], np.array(present, np.int64))
    labels, of = np.zeros(mask.shape, np.int32), []
    boxes = ndimage.find_objects(mask.astype(np.int32) + 1)
    for k in present:
        found, count = ndimage.label(mask[boxes[k]] == k, TOUCHING)
        labels[boxes[k]] += np.where(found, found + len(of), 0).astype(np.int32)
        of += [k] * count
    return Areas(labels, np.array(of, np.int64))
