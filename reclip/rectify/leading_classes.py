"""Find each pixel's best class fast, and the pixels where rounding could decide. Ours.

Bilinear upsampling is a product with one matrix for the rows and one for the columns. Computed so,
a few rows of pixels at a time, logits differ from those of `reclip.rectify.upsample.upsample` only
by rounding. Where the best class leads by more than both roundings, it is the best one there, too.
The other pixels are few; they are named, with the classes that may be theirs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

VALUES_IN_CACHE = 2**18  # ours: logits that a CPU core reads several times in its cache
VALUES_AT_ONCE = 2**24  # ours: what is in memory between the columns and the rows
OPEN_SHARE = 1 / 256  # ours: with more open pixels, to look at each would take too long
MOST_IN_COMMON = 1000  # ours: logits that differ by less than this share of them are nearly equal
MAX_CLASSES = 256  # 23 bits of a value and 8 of a class fill 31

UPSAMPLING = 5.1 * 2.0**-24
"""What a resize may round off a logit, as a share of its cells' weighted sizes.

It rounds four or five times, by at most 2^-24 of a number.
"""
PRODUCTS = 20
"""What it may change in the difference of two products of matrices, in steps of 2^-23.

Here logits are in [1, 2). Each is rounded 3 times before the products and, as three cells count at
most along an axis, 5 times along each, by half a step: 13 steps for two logits. The weights' own
rounding adds 2.
"""
OTHER_WAY = 12  # the same by `upsample`, times largest logit over largest lead: 10 steps


class Axis(NamedTuple):
    """Weights of the cells along one axis, of every pixel.

    weights: float64 (pixels, cells); none is negative, and each row adds up to 1.
    rounded: the same, float32.
    first: int64 (pixels,), the first cell that counts; the others follow it.
    span: how many cells count at most.
    """

    weights: Tensor
    rounded: Tensor
    first: Tensor
    span: int


class Leaders(NamedTuple):
    """The best class of each pixel, but for what rounding could decide.

    best: int16 (H, W), right but for open pixels.
    rows, columns: int64 (N,), where the open pixels are.
    classes: int64 (K, N), those that may be the best of each open pixel, in rising order. Where
        there are fewer than K, the first is repeated.
    """

    best: Tensor
    rows: Tensor
    columns: Tensor
    classes: Tensor


def axis_of(weights: Tensor) -> Axis:
    """Return the axis of weights float64 (pixels, cells)."""
    counts, cells = weights != 0, weights.shape[1]
    first = counts.int().argmax(1)
    last = cells - 1 - counts.flip(1).int().argmax(1)
    return Axis(weights, weights.float(), first, int((last - first).max()) + 1)


def leading_classes(logits: Tensor, rows: Axis, columns: Axis, steps: int) -> Leaders | None:
    """Return the leaders of logits, float32 (C, h, w) on the CPU, on all pixels of two axes.

    None if rounding could decide at many pixels, as between equal classes or where a logit is not
    finite, or if there are more than MAX_CLASSES.

    steps: how many times `upsample` resizes, 1 or 2.
    """
    cells = logits.flatten(1)
    # A class that is nowhere as good as another one is everywhere cannot win.
    margin = 4 * steps * UPSAMPLING * logits.abs().max()
    names = (cells.amax(1) >= cells.amin(1).amax() - margin).nonzero()[:, 0]
    if len(names) == 1:
        shape, none = (len(rows.first), len(columns.first)), names[:0]
        return Leaders(names.short().expand(shape).clone(), none, none, none[None])
    if not 1 < len(names) <= MAX_CLASSES:
        return None
    logits = logits[names]
    behind = logits - logits.amax(0)
    lead = -float(behind.amin())
    share = float(logits.abs().max()) / lead if lead else math.inf
    if not share < MOST_IN_COMMON:  # nor if it is no number
        return None
    steps_of_rounding = PRODUCTS + math.ceil(OTHER_WAY * share)
    index, unsure = _best_of_products(behind, rows, columns, steps_of_rounding)
    y, x = unsure.nonzero(as_tuple=True)
    if len(y) > OPEN_SHARE * unsure.numel():
        return None
    best = index.short() if len(names) == len(cells) else names.short()[index]
    values, sizes = _values_at(logits, rows, columns, y, x)
    margin = steps * UPSAMPLING * sizes
    near = values + margin >= (values - margin).amax(0)
    best[y, x] = names[values.argmax(0)].short()
    is_open = near.sum(0) > 1
    return Leaders(best, y[is_open], x[is_open], _listed(near[:, is_open], names))


def _best_of_products(
    behind: Tensor, rows: Axis, columns: Axis, margin: int
) -> tuple[Tensor, Tensor]:
    """Return the best class (H, W), and where its lead is too small to be sure of.

    Values in [1, 2) are compared by their 23 bits, as integers. The number of the class follows
    these bits. So the largest integer says which class it is of: to look for the place of a maximum
    takes ten times as long.

    behind: logits less the best of their cell (C, h, w); only differences between classes matter.
    margin: steps of 2^-23 that rounding may make.
    """
    # The best class of each cell is at 1.97, the worst of all at 1.03.
    scaled = (behind * (0.9375 / -behind.amin())).add_(1.96875).transpose(0, 1).contiguous()
    shape = len(rows.first), 1, len(columns.first)
    best, second = (torch.empty(shape, dtype=torch.int32) for _ in range(2))
    step = max(1, VALUES_AT_ONCE // scaled[..., 0].numel())
    for left in range(0, shape[2], step):
        block = slice(left, left + step)
        _two_largest(scaled, rows, columns.rounded[block], best[..., block], second[..., block])
    bits = (len(behind) - 1).bit_length()
    steps = second.neg_().add_(best).bitwise_right_shift_(bits)
    return best.bitwise_and_(2**bits - 1)[:, 0], (steps <= margin)[:, 0]


def _two_largest(scaled: Tensor, rows: Axis, columns: Tensor, best: Tensor, second: Tensor) -> None:
    """Write the two largest integers of some columns of pixels, int32 (H, 1, W).

    scaled: values in [1, 2), float32 (h, C, w). columns: float32 (W, w).
    """
    height, classes, width = scaled.shape
    grown = scaled.view(height * classes, width) @ columns.T
    grown = grown.view(height, classes * len(columns))
    numbers = torch.arange(classes, dtype=torch.int32)[:, None]
    low = 2 ** (classes - 1).bit_length() - 1
    first, pixels = rows.first.tolist(), len(rows.first)
    at_once = max(1, VALUES_IN_CACHE // len(grown[0]))
    memory = grown.new_empty(at_once * len(grown[0]))
    for top in range(0, pixels, at_once):
        bottom = min(top + at_once, pixels)
        used = slice(first[top], first[bottom - 1] + rows.span)
        band = memory[: (bottom - top) * len(grown[0])].view(bottom - top, -1)
        torch.mm(rows.rounded[top:bottom, used], grown[used], out=band)
        values = band.view(torch.int32).view(bottom - top, classes, len(columns))
        torch.add(numbers, values, alpha=low + 1, out=values)  # it drops the sign and exponent
        highest = torch.amax(values, 1, keepdim=True, out=best[top:bottom])
        values.scatter_(1, highest.bitwise_and(low).long(), torch.iinfo(torch.int32).min)
        torch.amax(values, 1, keepdim=True, out=second[top:bottom])


def _listed(near: Tensor, names: Tensor) -> Tensor:
    """Return the names of the classes that are near each pixel, bool (C, N), as in `Leaders`."""
    most = int(near.sum(0).amax()) if near.shape[1] else 0
    places = torch.where(near, torch.arange(len(near))[:, None], -1).sort(0).values
    return names[places[len(near) - most :].maximum(near.int().argmax(0))]


def _values_at(
    logits: Tensor, rows: Axis, columns: Axis, y: Tensor, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the logits of pixels, float64 (C, N), and the same of the logits' sizes."""
    both = torch.stack([logits, logits.abs()]).double()
    step = max(1, VALUES_AT_ONCE // both[..., 0].numel())
    parts = [
        (both @ columns.weights[some_x].T).mul_(rows.weights[some_y].T).sum(2)
        for some_y, some_x in zip(y.split(step), x.split(step), strict=True)
    ]
    values, sizes = torch.cat(parts, 2)
    return values, sizes
