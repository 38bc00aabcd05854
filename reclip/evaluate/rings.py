"""Pixels that are right, predicted and labelled in rings around the image centre.

They measure space preference by pixels. `DistanceBins` bins whole objects by their centroid, as for
Fig. 1 (a), and few objects have theirs near a corner.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reclip.data.images import IGNORED
from reclip.evaluate.metrics import check_label


class Rings:
    """Pixel counts of a whole dataset by ring and class.

    A pixel's distance runs from the image centre to the pixel's, over half the diagonal: 0 is the
    centre, 1 a corner. `rings` rings of equal width cover 0 to 1. In a photo that is not square
    they are circles all the same.

    Attributes:
        counts: int64 (rings, 3, C): of each class the right pixels (intersection), the predicted
            and the labelled ones. Ignored pixels do not count.
    """

    def __init__(self, num_classes: int, rings: int) -> None:
        self.num_classes = num_classes
        self.counts = np.zeros((rings, 3, num_classes), dtype=np.int64)
        self._place: tuple[torch.Size, torch.device] | None = None
        self._map = torch.empty(0)

    def update(
        self, pred: Tensor | np.ndarray, label: Tensor | np.ndarray, name: str = "label map"
    ) -> None:
        """Add one image: class ids (H, W), 0 to C-1; `label` may also have 255 (ignored).

        Tensors are counted on the device of `pred`.
        name: the file of the label map, for errors.
        Raises ReclipError: the sizes differ, or an id is out of range.
        """
        pred = torch.as_tensor(pred)
        label = torch.as_tensor(label).to(pred.device)
        check_label(pred, label, self.num_classes, name)
        rings, c = len(self.counts), self.num_classes
        if self._place != (pred.shape, pred.device):  # photos of one size often follow one another
            self._map = ring_map(*pred.shape, rings, pred.device)
            self._place = pred.shape, pred.device
        # Ignored pixels are counted in a ring beyond the last: to pick the others takes longer. 32
        # bits, as in the confusion matrix: photos may have 40 megapixels.
        ring = torch.where(label == IGNORED, rings, self._map)
        flat = ring.int().mul_(c).add_(label).mul_(c).add_(pred).flatten()
        found = torch.bincount(flat, minlength=rings * c * c)[: rings * c * c].view(rings, c, c)
        right = found.diagonal(dim1=1, dim2=2)
        self.counts += torch.stack([right, found.sum(1), found.sum(2)], 1).cpu().numpy()


def ring_map(height: int, width: int, rings: int, device: torch.device) -> Tensor:
    """Return the ring of every pixel, int16 (height, width): 0 is the innermost.

    Integers decide, so every machine draws the same borders.
    """
    diagonal = height**2 + width**2
    dtype = torch.int32 if diagonal < 2**31 else torch.int64
    # Twice the offsets from the centre are whole numbers; the half diagonal doubles as well.
    y = torch.arange(1 - height, height, 2, dtype=dtype, device=device)
    x = torch.arange(1 - width, width, 2, dtype=dtype, device=device)
    starts = [-(-(k * k * diagonal) // rings**2) for k in range(1, rings)]
    starts = torch.tensor(starts, dtype=dtype, device=device)
    squares = (y * y)[:, None] + x * x
    return torch.bucketize(squares, starts, out_int32=True, right=True).to(torch.int16)
