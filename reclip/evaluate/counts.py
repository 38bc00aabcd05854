"""Count a data set's pixels once for all measures: by ring, label and prediction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reclip.data.images import IGNORED
from reclip.evaluate.location import DistanceBins
from reclip.evaluate.metrics import check_ids, check_sizes
from reclip.evaluate.rings import ring_map


class _Places(NamedTuple):
    """What the number of a pixel's bin gets from its place, int32, for photos of one size.

    rings: (H, W); rows: (H, 1); columns: (W,).
    """

    rings: Tensor
    rows: Tensor
    columns: Tensor


class Counts:
    """Pixels and objects of a whole data set, photo by photo.

    Attributes:
        distances: objects by their distance from the image centre, in as many bins as rings.
    """

    def __init__(self, num_classes: int, rings: int = 1) -> None:
        self.num_classes = num_classes
        self.distances = DistanceBins(num_classes, rings)
        self._rings = rings
        self._pixels = torch.zeros(rings, num_classes, num_classes, dtype=torch.int64)
        self._key: tuple[torch.Size, torch.device] | None = None
        self._places: _Places

    def update(
        self, pred: Tensor | np.ndarray, label: Tensor | np.ndarray, name: str = "label map"
    ) -> None:
        """Add one image: class ids (H, W), 0 to C-1; `label` may also have 255 (ignored).

        All is counted on the device of `pred`. A few numbers of each class come back, once.
        name: the file of the label map, for errors.
        Raises ReclipError: the sizes differ, or an id is out of range.
        """
        pred = torch.as_tensor(pred)
        label = torch.as_tensor(label).to(pred.device)
        check_sizes(pred, label, name)
        places, c = self._places_of(pred), self.num_classes
        ignored = label == IGNORED
        # Ignored pixels get a class beyond the last: to pick the others takes longer. Ids that are
        # out of range are only looked at below, so that a GPU does not wait twice. 32 bits: with
        # 64, the maps of a photo of 40 megapixels would take gigabytes.
        true = label.to(torch.int32, copy=True)
        lowest = true.amin()
        true.clamp_(0, c).masked_fill_(ignored, c)
        bins = true.mul(c).add_(pred.int().clamp(0, c - 1)).add_(places.rings)
        found = _histogram(bins, (self._rings, c + 1, c))[:, :c]
        matrix = found.sum(0)
        height, width = pred.shape
        by_row = _histogram(true + places.rows, (height, c + 1))
        by_column = _histogram(true + places.columns, (width, c + 1))
        beyond = by_row[:, c].sum() - ignored.sum()
        ids = torch.stack([*pred.aminmax(), lowest, beyond]).long()
        of_classes = [
            matrix.diagonal(), matrix.sum(0), matrix.sum(1),
            _moment(by_row[:, :c]), _moment(by_column[:, :c]),
        ]  # fmt: skip
        *numbers, low, high, lowest, beyond = torch.cat([*of_classes, ids]).tolist()
        if min(low, lowest) < 0 or high >= c or beyond:
            check_ids(pred, label, c, name)
        self._pixels = self._pixels.to(found.device).add_(found)
        self.distances.add(np.array(numbers, np.int64).reshape(5, c), (height, width))

    @property
    def confusion(self) -> np.ndarray:
        """Return int64 (C, C): pixels of class i (row) that were predicted as j (column)."""
        return self._pixels.sum(0).cpu().numpy()

    @property
    def rings(self) -> np.ndarray:
        """Return int64 (rings, 3, C): of each class the right, predicted and labelled pixels.

        A pixel's distance runs from the image centre to the pixel's, over half the diagonal: 0 is
        the centre, 1 a corner. Rings of equal width cover 0 to 1. In a photo that is not square
        they are circles all the same. They measure space preference by pixels: `DistanceBins` bins
        whole objects, and few have their centroid near a corner.
        """
        right = self._pixels.diagonal(dim1=1, dim2=2)
        return torch.stack([right, self._pixels.sum(1), self._pixels.sum(2)], 1).cpu().numpy()

    def _places_of(self, pred: Tensor) -> _Places:
        key = pred.shape, pred.device
        if self._key != key:  # photos of one size often follow one another
            height, width = pred.shape
            wide, c = self.num_classes + 1, self.num_classes
            rings = ring_map(height, width, self._rings, pred.device).int().mul_(wide * c)
            rows, columns = (
                torch.arange(0, n * wide, wide, dtype=torch.int32, device=pred.device)
                for n in pred.shape
            )
            self._key, self._places = key, _Places(rings, rows[:, None], columns)
        return self._places


def _histogram(bins: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return how often each bin occurs, int64 of a shape."""
    return torch.bincount(bins.flatten(), minlength=int(np.prod(shape))).view(shape)


def _moment(counts: Tensor) -> Tensor:
    """Return the sum of places of each class, int64 (C,), from its pixels at each (n, C)."""
    return (counts * torch.arange(len(counts), device=counts.device)[:, None]).sum(0)
