"""Logits of a grid's cells to pixels without torch: the same two bilinear steps, as matrices.

A bilinear resize is R X Cᵀ with a matrix for the rows and one for the columns, and so are two in a
row, with the padding cut between them and overlapping windows averaged: windows lie on a grid of
their own, so that how many cover a pixel is a product, too. Pixels are made a few rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from reclip.data.reading import Window

VALUES_AT_ONCE = 2**24  # logits: 64 MB


class GridLogits(NamedTuple):
    """What a model says of a photo, on its own grid.

    pieces: windows of the image as read, each with its logits float32 (C, h, w).
    cell: pixels of the read image a cell. read, size: (H, W) of the image as read, and the photo's.
    overhang: see `ImageSettings`.
    """

    pieces: Sequence[tuple[Window, np.ndarray]]
    cell: int
    read: tuple[int, int]
    size: tuple[int, int]
    overhang: Literal["cut", "squeezed"]


def bilinear(cells: int, pixels: int) -> np.ndarray:
    """float32 (pixels, cells): bilinear resizing with aligned areas, as torch has it."""
    place = (np.arange(pixels, dtype=np.float32) + 0.5) * np.float32(cells / pixels) - 0.5
    place = place.clip(0)
    low = np.floor(place).astype(np.int64).clip(0, cells - 1)
    part = place - low
    matrix = np.zeros((pixels, cells), np.float32)
    rows = np.arange(pixels)
    np.add.at(matrix, (rows, low), 1 - part)
    np.add.at(matrix, (rows, np.minimum(low + 1, cells - 1)), part)
    return matrix


def to_photo(logits: GridLogits, axis: int) -> dict[int, np.ndarray]:
    """For each start of a window along an axis (0: top, 1: left), its cells to the photo's pixels.

    float32 (photo's pixels, window's cells); averaging included.
    """
    read, size = logits.read[axis], logits.size[axis]
    spans = {w[axis]: (w[axis + 2], p.shape[axis + 1]) for w, p in logits.pieces}
    count = np.zeros(read, np.float32)
    for start, (length, _) in spans.items():
        count[start : start + length] += 1
    found = {}
    for start, (length, cells) in spans.items():
        if logits.overhang == "squeezed":
            grown = bilinear(cells, length)
        else:
            grown = bilinear(cells, cells * logits.cell)[:length]
        placed = np.zeros((read, cells), np.float32)
        placed[start : start + length] = grown / count[start : start + length, None]
        found[start] = placed if read == size else bilinear(read, size) @ placed
    return found


def rows_of_logits(logits: GridLogits) -> Iterator[tuple[slice, np.ndarray]]:
    """The photo's rows, a few at a time, with their logits float32 (C, rows, W)."""
    down, across = to_photo(logits, 0), to_photo(logits, 1)
    reached = {left: np.flatnonzero(matrix.any(1)) for left, matrix in across.items()}
    height, width = logits.size
    classes = len(logits.pieces[0][1])
    step = max(1, VALUES_AT_ONCE // (classes * width))
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        full = np.zeros((classes, rows.stop - start, width), np.float32)
        for window, values in logits.pieces:
            vertical = down[window.top][rows]
            if vertical.any():
                columns = reached[window.left]
                columns = slice(columns[0], columns[-1] + 1)
                full[:, :, columns] += vertical @ values @ across[window.left][columns].T
        yield rows, full


def class_map(logits: GridLogits) -> np.ndarray:
    """Best class of every pixel, uint8 (H, W); of equal ones the first."""
    mask = np.zeros(logits.size, np.uint8)
    for rows, values in rows_of_logits(logits):
        mask[rows] = values.argmax(0)
    return mask


def probabilities(logits: GridLogits, scale: float) -> np.ndarray:
    """Softmax over the classes of `scale` times the logits, float32 (C, H, W)."""
    found = np.empty((len(logits.pieces[0][1]), *logits.size), np.float32)
    for rows, values in rows_of_logits(logits):
        values = np.exp(scale * (values - values.max(0)))
        found[:, rows] = values / values.sum(0)
    return found
