"""Confusion matrix, mean intersection over union, and their summary over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from reclip.common.errors import ReclipError

IGNORE = 255
"""Label of pixels that count nowhere."""


class ConfusionMatrix:
    """Pixel counts over a whole dataset; `matrix[i, j]`: pixels of class i predicted as j."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.matrix = np.zeros((num_classes, num_classes), dtype=np.int64)

    def update(
        self, pred: Tensor | np.ndarray, label: Tensor | np.ndarray, name: str = "label map"
    ) -> None:
        """Add one image: class ids (H, W), 0 to C-1, where `label` may hold 255 (ignored).

        Tensors are counted on the device of `pred`. `name` says which file an error is about.
        Raises ReclipError if the sizes differ or an id is out of range.
        """
        pred = torch.as_tensor(pred)
        label = torch.as_tensor(label).to(pred.device)
        check_label(pred, label, self.num_classes, name)
        keep = label != IGNORE
        # 32 bits: twice as wide, the maps of a photo of 40 megapixels would take gigabytes.
        flat = label[keep].int() * self.num_classes + pred[keep].int()
        counts = torch.bincount(flat, minlength=self.num_classes**2)
        self.matrix += counts.reshape(self.matrix.shape).cpu().numpy()

    def iou(self) -> np.ndarray:
        """Intersection over union (C,), in [0, 1]; NaN for a class that occurs nowhere."""
        intersection = self.matrix.diagonal()
        union = self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - intersection
        return ratio(intersection, union)

    def miou(self, absent: Literal["zero", "nan"] = "zero") -> float:
        """Mean of `iou()` over classes, in [0, 1].

        A class that occurs neither in a prediction nor in a label counts as 0 with `zero`, the
        official code's way, and is left out with `nan`, mmsegmentation's. On the benchmarks' full
        validation sets every class occurs, and the two agree.
        """
        iou = self.iou()
        if absent == "zero":
            return float(np.nan_to_num(iou, nan=0.0).mean())
        occurring = iou[~np.isnan(iou)]
        return float(occurring.mean()) if occurring.size else math.nan

    def pixel_accuracy(self) -> float:
        """Share of the counted pixels that are right; NaN if none was counted."""
        total = int(self.matrix.sum())
        return int(self.matrix.trace()) / total if total else math.nan


@dataclass(frozen=True)
class Summary:
    """A metric over seeds. Spread and interval are None for a single value."""

    n: int
    mean: float
    sd: float | None
    """Sample standard deviation (n - 1)."""
    low: float | None
    high: float | None
    """Ends of the 95 % interval of the mean, from Student's t with n - 1 degrees of freedom."""


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and 95 % interval of at least one value."""
    n = len(values)
    mean = float(np.mean(values))
    if n == 1:
        return Summary(n, mean, None, None, None)
    from scipy.special import stdtrit  # scipy.stats.t.ppf, whose import costs a second

    sd = float(np.std(values, ddof=1))
    half = float(stdtrit(n - 1, 0.975)) * sd / math.sqrt(n)
    return Summary(n, mean, sd, mean - half, mean + half)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise quotient in float64, NaN where the denominator is 0."""
    out = np.full(np.shape(numerator), math.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def check_label(pred: Tensor, label: Tensor, num_classes: int, name: str) -> None:
    """Raise ReclipError unless both maps are equally large and hold class ids only."""
    if pred.shape != label.shape:
        raise ReclipError(
            f"{name} is {_size(label)} but its prediction is {_size(pred)}: "
            "predict at the size of the label map."
        )
    for what, ids in (("prediction for", pred), ("label map", label[label != IGNORE])):
        if ids.numel() and (int(ids.max()) >= num_classes or int(ids.min()) < 0):
            raise ReclipError(
                f"The {what} {name} holds ids {int(ids.min())} to {int(ids.max())}, but there are "
                f"{num_classes} classes (0 to {num_classes - 1}, 255 ignored): "
                "check the dataset's class list and how its labels are numbered."
            )


def _size(ids: Tensor) -> str:
    return " x ".join(str(n) for n in ids.shape)
