"""mIoU by an object's distance from the image centre: the space-preference bias of Fig. 1 (a).

The paper does not define the measure of this figure; this definition is ours.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from reclip.data.images import IGNORED
from reclip.evaluate.metrics import check_label
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

    def update(
        self, pred: Tensor | np.ndarray, label: Tensor | np.ndarray, name: str = "label map"
    ) -> None:
        """Add one image: class ids (H, W), 0 to C-1; `label` may also have 255 (ignored).

        name: the file of the label map, for errors.
        Raises ReclipError: the sizes differ, or an id is out of range.
        """
        pred, label = torch.as_tensor(pred).cpu(), torch.as_tensor(label).cpu()
        check_label(pred, label, self.num_classes, name)
        pred, label = pred.numpy(), label.numpy()
        keep = label != IGNORED
        for cls in np.unique(label[keep]):
            region = label == cls
            predicted = (pred == cls) & keep
            b = min(int(centre_distance(region) * len(self.counts)), len(self.counts) - 1)
            self.counts[b] += 1
            self._intersection[cls, b] += np.count_nonzero(region & predicted)
            self._union[cls, b] += np.count_nonzero(region | predicted)

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


def centre_distance(region: np.ndarray) -> float:
    """Return the distance of a region (H, W bool): 0 at the image centre, 1 at a corner."""
    height, width = region.shape
    pixels = np.count_nonzero(region)
    dy = np.arange(height) @ region.sum(axis=1) / pixels - (height - 1) / 2
    dx = np.arange(width) @ region.sum(axis=0) / pixels - (width - 1) / 2
    return math.hypot(dy, dx) / (math.hypot(height, width) / 2)
