"""What CLIP, before and after its rectification, found in photos without labels: counts of classes
and of pairs of classes that compete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from reclip.data.images import IGNORED

# Ours. A class is in a mask from this part of its pixels on.
SHOWN = 0.01
# Ours: logits are cosines, and CLIP's temperature is 0.01: at this distance the odds are e to 1.
MARGIN = 0.01


@dataclass(frozen=True)
class Cells:
    """How the cells of all photos went, int64.

    won (C,): cells of each class. runner_up (C, C): those of class i whose second best is j, by
    less than MARGIN. turned (C, C): those that were i by Query alone and are j once rectified.
    """

    won: np.ndarray
    runner_up: np.ndarray
    turned: np.ndarray


def count_cells(photos: Iterable[tuple[torch.Tensor, torch.Tensor]], num_classes: int) -> Cells:
    """Counts over the photos' logits, each (cells, C): rectified ones, and those of Query."""
    won = np.zeros(num_classes, np.int64)
    runner_up, turned = np.zeros((2, num_classes, num_classes), np.int64)
    for rectified, query in photos:
        (best, second), (first, next_) = ((t[:, 0], t[:, 1]) for t in rectified.topk(2, dim=1))
        won += np.bincount(first.cpu(), minlength=num_classes)
        close = (best - second < MARGIN).cpu()
        runner_up += _pairs(first.cpu()[close], next_.cpu()[close], num_classes)
        turned += _pairs(query.argmax(1).cpu(), first.cpu(), num_classes)
    np.fill_diagonal(turned, 0)
    return Cells(won, runner_up, turned)


def _pairs(rows: torch.Tensor, columns: torch.Tensor, num_classes: int) -> np.ndarray:
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def count_pixels(masks: Iterable[np.ndarray], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Of label maps (H, W): pixels of each class, and photos in which it takes a part of SHOWN."""
    pixels, photos = np.zeros((2, num_classes), np.int64)
    for mask in masks:
        counts = np.bincount(mask[mask != IGNORED].ravel(), minlength=num_classes)
        pixels += counts
        photos += counts >= SHOWN * mask.size
    return pixels, photos


@dataclass(frozen=True)
class Pair:
    """How two classes (indices, a < b) compete.

    text: cosine of their texts. nearest: whether each is the other's nearest text.
    together: photos supposed to hold both, of those supposed to hold either. lift: how many times
    as many as if the one said nothing of the other.
    contested: part of the cells of both whose runner-up, by less than MARGIN, is the other.
    turned: part of the cells that Query gave to either which went over to the other.
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
    """Every pair of classes.

    Args:
        texts: (C, D) of unit length. supposed: bool (N, C), the image-level hypotheses.
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
            _part(both[a, b], both[a, a] + both[b, b] - both[a, b]),
            _part(both[a, b] * len(supposed), both[a, a] * both[b, b]),
            _part(contested, cells.won[a] + cells.won[b]),
            _part(turned, by_query[a] + by_query[b]),
        )


def _part(some: int, all: int) -> float:
    return float(some / all) if all else 0.0
