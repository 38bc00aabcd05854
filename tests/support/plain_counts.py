"""The counts of an evaluation from their definitions: a mask for each class, in numpy."""

from __future__ import annotations

import math

import numpy as np

from reclip.data.images import IGNORED


class PlainCounts:
    """The plain version of `reclip.evaluate.counts.Counts`.

    Attributes:
        confusion: (C, C). rings: (rings, 3, C).
        objects: (bins,). intersection, union: (C, bins).
    """

    def __init__(self, classes: int, rings: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self.rings = np.zeros((rings, 3, classes), np.int64)
        self.objects = np.zeros(rings, np.int64)
        self.intersection = np.zeros((classes, rings), np.int64)
        self.union = np.zeros((classes, rings), np.int64)

    def update(self, pred: np.ndarray, label: np.ndarray) -> None:
        """Add one image."""
        height, width = label.shape
        rings, kept = len(self.objects), label != IGNORED
        y, x = np.indices(label.shape)
        half = math.hypot(height, width) / 2
        away = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) / half
        ring = (rings * away).astype(int)
        np.add.at(self.confusion, (label[kept], pred[kept]), 1)
        for k in range(len(self.confusion)):
            predicted, region = (pred == k) & kept, label == k
            for row, mask in enumerate((predicted & region, predicted, region)):
                self.rings[:, row, k] += np.bincount(ring[mask], minlength=rings)
            if not region.any():
                continue
            dy, dx = y[region].mean() - (height - 1) / 2, x[region].mean() - (width - 1) / 2
            b = min(int(math.hypot(dy, dx) / half * rings), rings - 1)
            self.objects[b] += 1
            self.intersection[k, b] += (predicted & region).sum()
            self.union[k, b] += (predicted | region).sum()
