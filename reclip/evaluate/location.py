"""mIoU by an object's distance from the image centre: the space-preference bias of Fig. 1 (a).

The paper does not say how the figure is made; the definition here is ours.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from reclip.evaluate.metrics import IGNORE, check_label, ratio


class DistanceBins:
    """Intersection and union per class and per bin of distance.

    An object is the region of one class in one image. Its distance is that of its centroid from
    the image centre over half the diagonal, so 0 is the centre and 1 a corner; `bins` bins of
    equal width cover 0 to 1. Predictions of a class that its image does not hold have no object
    and are not counted.

    Attributes: `edges` (bins + 1,); `counts` (bins,), objects a bin.
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
        """Add one image: class ids (H, W), 0 to C-1, where `label` may hold 255 (ignored).

        `name` says which file an error is about.
        Raises ReclipError if the sizes differ or an id is out of range.
        """
        pred, label = torch.as_tensor(pred).cpu(), torch.as_tensor(label).cpu()
        check_label(pred, label, self.num_classes, name)
        pred, label = pred.numpy(), label.numpy()
        keep = label != IGNORE
        for cls in np.unique(label[keep]):
            region = label == cls
            predicted = (pred == cls) & keep
            b = self._bin(region)
            self.counts[b] += 1
            self._intersection[cls, b] += np.count_nonzero(region & predicted)
            self._union[cls, b] += np.count_nonzero(region | predicted)

    def miou_per_bin(self) -> np.ndarray:
        """(bins,), in [0, 1]: mean IoU over the classes with an object there; NaN without any."""
        iou = ratio(self._intersection, self._union)
        occurs = self._union > 0
        return ratio(np.where(occurs, iou, 0.0).sum(axis=0), occurs.sum(axis=0))

    def _bin(self, region: np.ndarray) -> int:
        distance = centre_distance(region)
        return min(int(distance * len(self.counts)), len(self.counts) - 1)


def centre_distance(region: np.ndarray) -> float:
    """Distance of a region's centroid (H, W bool) from the image centre over half the diagonal."""
    height, width = region.shape
    pixels = np.count_nonzero(region)
    dy = np.arange(height) @ region.sum(axis=1) / pixels - (height - 1) / 2
    dx = np.arange(width) @ region.sum(axis=0) / pixels - (width - 1) / 2
    return math.hypot(dy, dx) / (math.hypot(height, width) / 2)
