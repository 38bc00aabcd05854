"""Confusion matrix and mean intersection over union (mIoU)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED
from reclip.evaluate.shares import ratio


class ConfusionMatrix:
    """Pixel counts of a whole dataset; `matrix[i, j]` counts pixels of class i predicted as j."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.matrix = np.zeros((num_classes, num_classes), dtype=np.int64)

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
        # 32 bits: with 64, the maps of a photo of 40 megapixels would take gigabytes.
        flat = (label.int() * self.num_classes).add_(pred)
        # Ignored pixels get a number beyond the last: to pick the others takes longer.
        flat.masked_fill_(label == IGNORED, self.num_classes**2)
        counts = torch.bincount(flat.flatten(), minlength=self.num_classes**2 + 1)[:-1]
        self.matrix += counts.reshape(self.matrix.shape).cpu().numpy()

    def iou(self) -> np.ndarray:
        """Return intersection over union (C,), in [0, 1]; NaN for a class that occurs nowhere."""
        intersection = self.matrix.diagonal()
        union = self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - intersection
        return ratio(intersection, union)

    def miou(self) -> float:
        """Return the mean of `iou()` over classes, in [0, 1].

        A class that occurs in no prediction and no label counts as 0, as in the official code. On
        the benchmarks' full val splits every class occurs.
        """
        return float(np.nan_to_num(self.iou(), nan=0.0).mean())

    def pixel_accuracy(self) -> float:
        """Return the share of counted pixels with the right class; NaN if none was counted."""
        total = int(self.matrix.sum())
        return int(self.matrix.trace()) / total if total else math.nan


def check_label(pred: Tensor, label: Tensor, num_classes: int, name: str) -> None:
    """Raise ReclipError unless both maps have the same size and only class ids."""
    if pred.shape != label.shape:
        raise ReclipError(
            f"{name} is {_size(label)} but its prediction is {_size(pred)}: "
            "predict at the size of the label map."
        )
    for what, ids in (("prediction for", pred), ("label map", label[label != IGNORED])):
        if ids.numel() and (int(ids.max()) >= num_classes or int(ids.min()) < 0):
            raise ReclipError(
                f"The {what} {name} holds ids {int(ids.min())} to {int(ids.max())}, but there are "
                f"{num_classes} classes (0 to {num_classes - 1}, 255 ignored): "
                "check the dataset's class list and how its labels are numbered."
            )


def _size(ids: Tensor) -> str:
    return " x ".join(str(n) for n in ids.shape)
