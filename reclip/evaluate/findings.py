"""Counts of classes, and of pairs of classes that compete, in photos without labels.

They compare CLIP before and after its rectification.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from reclip.data.images import IGNORED

SHOWN = 0.01
"""Our choice: a mask shows a class that has at least this share of its pixels."""

MARGIN = 0.01
"""Our choice: logits are cosines, and at CLIP's temperature of 0.01 this gap means odds e to 1."""


@dataclass(frozen=True)
class Cells:
    """Counts of the grid cells of all photos, int64.

    Attributes:
        won: (C,), cells of each class.
        runner_up: (C, C), cells of class i with j as second best, by less than MARGIN.
        turned: (C, C), cells of class i by Query alone and of class j by the rectified logits.
    """

    won: np.ndarray
    runner_up: np.ndarray
    turned: np.ndarray


def count_cells(photos: Iterable[tuple[torch.Tensor, torch.Tensor]], num_classes: int) -> Cells:
    """Count the cells of photos, from pairs of rectified and Query logits, each (cells, C)."""
    won = np.zeros(num_classes, np.int64)
    runner_up, turned = np.zeros((2, num_classes, num_classes), np.int64)
    for rectified, query in photos:
        values, (first, second) = (top.T.cpu() for top in rectified.topk(2, dim=1))
        close = values[0] - values[1] < MARGIN
        won += np.bincount(first, minlength=num_classes)
        runner_up += _pairs(first[close], second[close], num_classes)
        turned += _pairs(query.argmax(1).cpu(), first, num_classes)
    np.fill_diagonal(turned, 0)
    return Cells(won, runner_up, turned)


def _pairs(rows: torch.Tensor, columns: torch.Tensor, num_classes: int) -> np.ndarray:
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def count_pixels(masks: Iterable[np.ndarray], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return from label maps (H, W): pixels of each class, and the number of masks that show it."""
    pixels, photos = np.zeros((2, num_classes), np.int64)
    for mask in masks:
        counts = np.bincount(mask[mask != IGNORED].ravel(), minlength=num_classes)
        pixels += counts
        photos += counts >= SHOWN * mask.size
    return pixels, photos


@dataclass(frozen=True)
class Pair:
    """Measures of how two classes compete.

    Attributes:
        a, b: their indices, a < b.
        text: cosine of their texts.
        nearest: whether each text is the other's nearest.
        together: photos supposed to hold both, as a share of photos supposed to hold either.
        lift: photos supposed to hold both, over their number if the classes were independent.
        contested: share of both classes' cells with the other as runner-up, by less than MARGIN.
        turned: share of both classes' cells by Query that rectification moved to the other.
    """

    a: int
    b: int
    text: float
    nearest: bool
    together: float
    lift: float
    contested: float
    turned: float


def pairs(texts: np.ndarray, supposed: np.ndarray, cells: Cells) -> Iterator[Pair]:
    """Yield every pair of classes.

    Args:
        texts: (C, D) of unit length.
        supposed: bool (N, C), the image-level hypotheses.
    """
    cosines = texts.astype(np.float64) @ texts.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = cosines.argmax(1)
    both = supposed.T.astype(np.int64) @ supposed.astype(np.int64)
    by_query = cells.won - cells.turned.sum(0) + cells.turned.sum(1)
    for a, b in combinations(range(len(texts)), 2):
        contested = cells.runner_up[a, b] + cells.runner_up[b, a]
        turned = cells.turned[a, b] + cells.turned[b, a]
        yield Pair(
            a,
            b,
            float(cosines[a, b]),
            bool(nearest[a] == b and nearest[b] == a),
            _share(both[a, b], both[a, a] + both[b, b] - both[a, b]),
            _share(both[a, b] * len(supposed), both[a, a] * both[b, b]),
            _share(contested, cells.won[a] + cells.won[b]),
            _share(turned, by_query[a] + by_query[b]),
        )


def _share(some: int, all: int) -> float:
    return float(some / all) if all else 0.0
