"""Class preference and space preference of masks, from counts of labelled data. Needs no torch.

The paper names both kinds of bias but defines no measure of them. These definitions are ours. A
leading axis of seeds is kept, so every measure has one value per seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reclip.evaluate.shares import ratio, row_shares

RIGHT, PREDICTED, LABELLED = range(3)
"""The second axis of a run's rings (see `reclip.evaluate.rings`)."""


def total_variation(confusion: np.ndarray) -> np.ndarray:
    """Return by how many percent of all pixels the predicted class shares are off, (...).

    Half the sum over classes of |predicted share - true share|, from counts (..., C, C). It is the
    share of pixels that would have to change class to make the shares right: 0 at best.
    """
    total = confusion.sum(axis=(-2, -1))[..., None]
    off = ratio(confusion.sum(axis=-2), total) - ratio(confusion.sum(axis=-1), total)
    return 50 * np.abs(off).sum(axis=-1)


def asymmetry(confusion: np.ndarray) -> np.ndarray:
    """Return how one-sided the confusions are, in points a class (...), from counts (..., C, C).

    For a pair of classes it is |share of i's pixels taken for j - share of j's pixels taken for i|,
    in percentage points. These are summed over all pairs and divided by the number of classes with
    pixels. Two classes that are mixed up equally often count 0; one that swallows the other
    counts.

    Shares are of each class's own pixels. If classes differ in size, as in photos, errors at a
    common border are a larger share of the smaller class, without any preference. So compare
    methods on the same data, not one data set with another.
    """
    gaps = np.abs(_gaps(row_shares(confusion)))
    classes = (confusion.sum(axis=-1) > 0).sum(axis=-1)
    return ratio(np.nansum(gaps, axis=(-2, -1)) / 2, classes)


def _gaps(shares: np.ndarray) -> np.ndarray:
    return shares - np.swapaxes(shares, -1, -2)


@dataclass(frozen=True)
class Pair:
    """Two classes that are confused one-sidedly.

    Attributes:
        loser, winner: their indices.
        taken: percent of the loser's pixels that are predicted as the winner.
        reverse: percent of the winner's pixels that are predicted as the loser; not more.
    """

    loser: int
    winner: int
    taken: float
    reverse: float


def worst_pairs(confusion: np.ndarray, wanted: int) -> list[Pair]:
    """Return up to `wanted` pairs with the most one-sided confusions, the worst first.

    Shares are means over the seeds of counts (S, C, C). Pairs without any one-sidedness, or with a
    class without pixels, are left out. Of equal pairs the first counts.
    """
    shares = row_shares(confusion).mean(axis=0)
    gaps = np.nan_to_num(_gaps(shares))
    order = np.argsort(-gaps, axis=None, kind="stable")[:wanted]
    found = zip(*np.unravel_index(order, gaps.shape), strict=True)
    return [
        Pair(int(i), int(j), float(shares[i, j]), float(shares[j, i]))
        for i, j in found
        if gaps[i, j] > 0
    ]


def ring_miou(rings: np.ndarray) -> np.ndarray:
    """Return mIoU in percent by ring (..., B), from counts (..., B, 3, C).

    The mean is over the classes with labelled pixels in the ring: the same for every method. NaN
    for a ring without any.
    """
    return _miou(rings, rings[..., LABELLED, :] > 0)


def _miou(counts: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return mIoU in percent (...) of counts (..., 3, C), over the classes of a mask (..., C)."""
    right = counts[..., RIGHT, :]
    iou = ratio(right, counts[..., PREDICTED, :] + counts[..., LABELLED, :] - right)
    return 100 * ratio(np.where(classes, iou, 0).sum(axis=-1), classes.sum(axis=-1))


def slope(rings: np.ndarray) -> np.ndarray:
    """Return the slope of mIoU over the distance (...), from counts (..., B, 3, C).

    Points per unit of distance, so from the centre to a corner; below 0, masks are worse outside.
    Least squares over the middles of the rings, weighted by their labelled pixels.
    """
    weights = rings[..., LABELLED, :].sum(axis=-1)
    miou = np.nan_to_num(ring_miou(rings))  # a ring without labels has no weight
    bins = rings.shape[-3]
    total = weights.sum(axis=-1)
    distance = (np.arange(bins) + 0.5) / bins
    distance = distance - ratio((weights * distance).sum(axis=-1), total)[..., None]
    return ratio((weights * distance * miou).sum(axis=-1), (weights * distance**2).sum(axis=-1))


def drop(rings: np.ndarray) -> np.ndarray:
    """Return how many points of mIoU are lost from the centre to the edge (...).

    mIoU of the pixels nearer than a quarter of the half diagonal, minus that of the pixels farther
    than three quarters, from counts (..., B, 3, C). Both are of the rings that lie wholly there, at
    least one, and over the classes with labelled pixels in both; NaN if there is none.
    """
    bins = rings.shape[-3]
    outer = max(1, bins // 4)
    near = rings[..., :outer, :, :].sum(axis=-3)
    far = rings[..., bins - outer :, :, :].sum(axis=-3)
    classes = (near[..., LABELLED, :] > 0) & (far[..., LABELLED, :] > 0)
    return _miou(near, classes) - _miou(far, classes)
