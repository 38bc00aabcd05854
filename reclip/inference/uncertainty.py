"""How sure a model is of each pixel and of a photo: confidence, entropy and mean probabilities.

The logits of all classes at every pixel of a large photo would fill the memory, so they are
upsampled a square of pixels at a time. Upsampling is linear along each axis: a square of logits is
the product of row weights, the logits of cells, and column weights. It equals
`reclip.rectify.upsample.upsample` up to rounding. The weights are numpy arrays, so a model in ONNX
needs no torch; both libraries share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from reclip.data.reading import Frame, Piece

SIDE = 128  # of a square, in pixels: 150 classes take 10 MB

Place = tuple[slice, slice]  # rows and columns of the photo


class Square(NamedTuple):
    """A square of a photo's pixels, and how sure the model is of them.

    confidence, entropy: float32 (h, w), as in :class:`Uncertainty`, of each pixel.
    probabilities: sum over the pixels of the probability of each class, (C,).
    """

    place: Place
    confidence: np.ndarray
    entropy: np.ndarray
    probabilities: np.ndarray


class Uncertainty(NamedTuple):
    """Means over the pixels of a photo. Probabilities are not calibrated.

    confidence: the best class's probability.
    entropy: of the probabilities, divided by its maximum ln C: 0 is certain, 1 knows nothing.
    probabilities: of each class, float64 (C,); the sum is 1.
    """

    confidence: float
    entropy: float
    probabilities: np.ndarray


def mean_of(squares: Iterable[Square]) -> Uncertainty:
    """Return the means over the pixels of all squares."""
    pixels, confidence, entropy, probabilities = 0, 0.0, 0.0, 0.0
    for square in squares:
        pixels += square.entropy.size
        confidence += square.confidence.sum(dtype=np.float64)
        entropy += square.entropy.sum(dtype=np.float64)
        probabilities = probabilities + square.probabilities.astype(np.float64)
    return Uncertainty(confidence / pixels, entropy / pixels, probabilities / pixels)


def squares_by_numpy(pieces: Sequence[Piece], frame: Frame, scale: float) -> Iterator[Square]:
    """Return the squares of a photo. scale: factor on the logits before the softmax."""
    for place, values in logits_in_squares(pieces, frame):
        values *= np.float32(scale)
        values -= values.max(0)
        likely = np.exp(values)
        confidence = 1 / likely.sum(0)
        # ln of the sum, less the mean of the values: the entropy, without a logarithm of each class
        entropy = np.einsum("chw,chw->hw", values, likely) * -confidence - np.log(confidence)
        sums = likely.reshape(len(likely), -1) @ confidence.ravel()
        yield Square(place, confidence, entropy / most_entropy(len(likely)), sums)


def most_entropy(classes: int) -> np.float32:
    """Return the entropy of equal probabilities; 1 for a single class, whose entropy is 0."""
    return np.float32(math.log(classes) if classes > 1 else 1)


def logits_in_squares(
    pieces: Sequence[Piece], frame: Frame, array: Callable[[np.ndarray], Any] = np.asarray
) -> Iterator[tuple[Place, Any]]:
    """Return the logits (C, h, w) of one square of the photo's pixels after the other.

    pieces: windows on a grid of rows and columns. Where they overlap, logits are averaged.
    array: converts weights to the library of the logits.
    """
    rows = _weights([(p.window.top, p.window.height, p.logits.shape[1]) for p in pieces], frame, 0)
    columns = _weights(
        [(p.window.left, p.window.width, p.logits.shape[2]) for p in pieces], frame, 1
    )
    for down, across in product(_parts(frame.size[0]), _parts(frame.size[1])):
        total = None
        for piece, row, column in zip(pieces, rows, columns, strict=True):
            if (high := _used(row[down])) and (wide := _used(column[across])):
                above, beside = array(row[down, high]), array(column[across, wide].T)
                part = above @ piece.logits[:, high, wide] @ beside
                total = part if total is None else total + part
        yield (down, across), total


def _parts(side: int) -> list[slice]:
    return [slice(start, min(start + SIDE, side)) for start in range(0, side, SIDE)]


def _used(weights: np.ndarray) -> slice | None:
    """Return the range of cells (columns) that have any weight; None if there is none."""
    cells = np.flatnonzero(weights.any(0))
    return slice(int(cells[0]), int(cells[-1]) + 1) if len(cells) else None


def _weights(spans: Sequence[tuple[int, int, int]], frame: Frame, axis: int) -> list[np.ndarray]:
    """Return, for each window, the weight of its cells along one axis, float32 (pixels, cells).

    spans: start and length of each window in pixels of the image as read, and its cells.
    """
    read, size = frame.read[axis], frame.size[axis]
    count = np.zeros(read)
    for start, length in {(start, length) for start, length, _ in spans}:
        count[start : start + length] += 1
    found = {}
    for span in set(spans):
        start, length, cells = span
        grown = length if frame.overhang == "squeezed" else cells * frame.cell
        whole = np.zeros((read, cells))
        whole[start : start + length] = _resized(np.eye(cells), grown)[:length]
        whole /= count[:, None]
        found[span] = _resized(whole, size).astype(np.float32)
    return [found[span] for span in spans]


def _resized(values: np.ndarray, size: int) -> np.ndarray:
    """Return (n, cells) resized to (size, cells), bilinearly, with aligned pixel areas."""
    if len(values) == size:
        return values
    at = ((np.arange(size) + 0.5) * (len(values) / size) - 0.5).clip(0)
    low = np.minimum(at.astype(int), len(values) - 1)
    high = np.minimum(low + 1, len(values) - 1)
    part = (at - low)[:, None]
    return values[low] * (1 - part) + values[high] * part
