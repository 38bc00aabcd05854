"""OpenCV's bilinear resize of uint8 images (INTER_LINEAR), bit for bit, without OpenCV.

It works in fixed point: weights of 11 bits, a horizontal pass whose sums lose 4 bits, a vertical
pass whose products lose 16 bits each, and a last rounding shift by 2. Rounded floating-point
bilinear interpolation differs by at most 1 in about 12 % of the values, Pillow's in 21 %. The
official code reads its images with OpenCV's function, so every published number depends on it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class _Taps(NamedTuple):
    """For each pixel along one side of the target: its two source pixels and their weights."""

    low: np.ndarray
    high: np.ndarray
    w_low: np.ndarray
    w_high: np.ndarray


def _taps(size: int, target: int, cut: slice) -> _Taps:
    centre = ((np.arange(target)[cut] + 0.5) * (size / target) - 0.5).astype(np.float32)
    low = np.floor(centre)
    fraction = centre - low
    weights = [np.rint(w * np.float32(2048)).astype(np.int32) for w in (1 - fraction, fraction)]
    low = low.astype(np.int64)
    return _Taps(low.clip(0, size - 1), (low + 1).clip(0, size - 1), *weights)


def resize_linear(
    image: np.ndarray,
    height: int,
    width: int,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> np.ndarray:
    """Resize uint8 (h, w, 3) to (height, width, 3); return its `rows` and `columns` alone."""
    y, x = _taps(image.shape[0], height, rows), _taps(image.shape[1], width, columns)
    left = x.low.min()
    # Only the pixels used are widened to 32 bits: a photo may be large, the cut or target small.
    rows_read, at = np.unique(np.concatenate([y.low, y.high]), return_inverse=True)
    read = image[:, left : x.high.max() + 1][rows_read]
    across = read[:, x.low - left] * x.w_low[:, None] + read[:, x.high - left] * x.w_high[:, None]
    across >>= 4
    upper = across[at[: len(y.low)]] * y.w_low[:, None, None] >> 16
    lower = across[at[len(y.low) :]] * y.w_high[:, None, None] >> 16
    return (upper + lower + 2 >> 2).clip(0, 255).astype(np.uint8)
