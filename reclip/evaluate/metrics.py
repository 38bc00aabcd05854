"""Confusion matrix and mean intersection over union (mIoU)."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED
from reclip.evaluate.shares import ratio


def iou(confusion: np.ndarray) -> np.ndarray:
    """Return intersection over union (C,), in [0, 1]; NaN for a class that occurs nowhere.

    confusion: (C, C), pixels of class i (row) that were predicted as j (column).
    """
    intersection = confusion.diagonal()
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - intersection
    return ratio(intersection, union)


def miou(confusion: np.ndarray) -> float:
    """Return the mean of `iou` over classes, in [0, 1].

    A class that occurs in no prediction and no label counts as 0, as in the official code. On
    the benchmarks' full val splits every class occurs.
    """
    return float(np.nan_to_num(iou(confusion), nan=0.0).mean())


def pixel_accuracy(confusion: np.ndarray) -> float:
    """Return the share of counted pixels with the right class; NaN if none was counted."""
    total = int(confusion.sum())
    return int(confusion.trace()) / total if total else math.nan


def check_sizes(pred: Tensor, label: Tensor, name: str) -> None:
    """Raise ReclipError unless a label map and its prediction have the same size."""
    if pred.shape != label.shape:
        raise ReclipError(
            f"{name} is {_size(label)} but its prediction is {_size(pred)}: "
            "predict at the size of the label map."
        )


def check_ids(pred: Tensor, label: Tensor, num_classes: int, name: str) -> None:
    """Raise ReclipError unless both maps have only class ids; a label map also 255 (ignored)."""
    for what, ids in (("prediction for", pred), ("label map", label[label != IGNORED])):
        if ids.numel() and (int(ids.max()) >= num_classes or int(ids.min()) < 0):
            raise ReclipError(
                f"The {what} {name} holds ids {int(ids.min())} to {int(ids.max())}, but there are "
                f"{num_classes} classes (0 to {num_classes - 1}, 255 ignored): "
                "check the dataset's class list and how its labels are numbered."
            )


def _size(ids: Tensor) -> str:
    return " x ".join(str(n) for n in ids.shape)
