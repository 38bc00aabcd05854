"""mIoU by an object's distance from the image centre: the space-preference bias of Fig. 1 (a).

The paper does not define the measure of this figure; this definition is ours.
"""

from __future__ import annotations

import math

import numpy as np

from reclip.evaluate.shares import ratio


class DistanceBins:
    """Intersection and union per class and per bin of distance.

    An object is the region of one class in one image. Its distance runs from its centroid to the
    image centre, over half the diagonal: 0 is the centre, 1 a corner. `bins` bins of equal width
    cover 0 to 1. A class that is predicted but not in the label map has no object; it does not
    count.

    Attributes:
        edges: (bins + 1,).
        counts: (bins,), objects in each bin.
    """

    def __init__(self, num_classes: int, bins: int = 5) -> None:
        self.num_classes = num_classes
        self.edges = np.linspace(0.0, 1.0, bins + 1)
        self.counts = np.zeros(bins, dtype=np.int64)
        self._intersection = np.zeros((num_classes, bins), dtype=np.int64)
        self._union = np.zeros((num_classes, bins), dtype=np.int64)

    def add(self, numbers: np.ndarray, size: tuple[int, int]) -> None:
        """Add one image of a size (H, W).

        numbers: int64 (5, C), of each class the right, the predicted and the labelled pixels, and
            the sums of the labelled ones' rows and columns. Ignored pixels do not count.
        """
        right, predicted, labelled, rows, columns = numbers
        bins = len(self.counts)
        for k in np.flatnonzero(labelled):
            distance = centre_distance(rows[k] / labelled[k], columns[k] / labelled[k], size)
            b = min(int(distance * bins), bins - 1)
            self.counts[b] += 1
            self._intersection[k, b] += right[k]
            self._union[k, b] += predicted[k] + labelled[k] - right[k]

    def miou_per_bin(self) -> np.ndarray:
        """Return (bins,), in [0, 1]: mean IoU over the classes with an object; NaN if none has."""
        iou = ratio(self._intersection, self._union)
        occurs = self._union > 0
        return ratio(np.where(occurs, iou, 0.0).sum(axis=0), occurs.sum(axis=0))

    def rows(self) -> list[tuple[str, str, int, str]]:
        """Return a row a bin: the values of DISTANCE_COLUMNS, mIoU in percent or empty."""
        bins = zip(self.edges, self.edges[1:], self.counts, self.miou_per_bin(), strict=False)
        return [
            (f"{low:.4f}", f"{high:.4f}", int(n), "" if np.isnan(miou) else f"{100 * miou:.4f}")
            for low, high, n, miou in bins
        ]


def centre_distance(y: float, x: float, size: tuple[int, int]) -> float:
    """Return the distance of a point in an image (H, W): 0 at its centre, 1 at a corner."""
    height, width = size
    away = math.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    return away / (math.hypot(height, width) / 2)
