"""Upsample logits to the photo without torch, as `reclip.rectify.predict` does with it.

Pillow's `resize` does not serve: it antialiases where an image is reduced, and torch does not.
Pillow's affine transform samples at the same places as torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from reclip.data.reading import Frame, Piece


def resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return float32 (h, w) resized bilinearly to `size` (H, W), without antialiasing.

    Equal to `torch.nn.functional.interpolate` up to rounding. The steps are float32, as in torch.
    """
    (height, width), (rows, columns) = values.shape, size
    x, y = float(np.float32(width / columns)), float(np.float32(height / rows))
    image = Image.fromarray(np.ascontiguousarray(values))
    method, resample = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return np.asarray(image.transform((columns, rows), method, (x, 0, 0, 0, y, 0), resample))


def upsample(pieces: Sequence[Piece], frame: Frame, k: int) -> np.ndarray:
    """Return the logits of class `k` at every pixel of the photo, float32 (H, W).

    Logits of overlapping windows are averaged. One class at a time keeps memory bounded.
    """
    full = np.zeros(frame.read, np.float32)
    count = np.zeros(frame.read, np.uint16)
    for (top, left, height, width), logits in pieces:
        place = (slice(top, top + height), slice(left, left + width))
        padded = tuple(side * frame.cell for side in logits[k].shape)
        size = padded if frame.overhang == "cut" else (height, width)
        full[place] += resize(logits[k], size)[:height, :width]
        count[place] += 1
    full /= count
    return full if tuple(frame.read) == tuple(frame.size) else resize(full, frame.size)


def class_map(pieces: Sequence[Piece], frame: Frame) -> np.ndarray:
    """Return the best class of every pixel, uint8 (H, W); the first of equal classes."""
    mask = np.zeros(frame.size, np.uint8)
    best = upsample(pieces, frame, 0)
    for k in range(1, len(pieces[0].logits)):
        values = upsample(pieces, frame, k)
        np.copyto(mask, k, where=values > best)
        best = np.maximum(best, values)
    return mask


def probabilities(pieces: Sequence[Piece], frame: Frame, scale: float) -> np.ndarray:
    """Return the softmax over the classes of `scale` times the logits, float32 (C, H, W)."""
    found = np.empty((len(pieces[0].logits), *frame.size), np.float32)
    for k, values in enumerate(found):
        values[:] = scale * upsample(pieces, frame, k)
    found -= found.max(0)  # in place: it may be gigabytes
    np.exp(found, out=found)
    found /= found.sum(0)
    return found
