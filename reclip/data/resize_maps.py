"""Bilinear resizing of maps of features and logits, in little memory on every device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, D, h, w) to (B, D, *size) bilinearly, with aligned pixel areas."""
    on_gpu = x.device.type not in ("cpu", "meta")
    if on_gpu and torch.are_deterministic_algorithms_enabled():
        return resize_by_matrices(x, size)
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def resample(x: Tensor, size: tuple[int, int], cell: float, target: float) -> Tensor:
    """Resize (B, D, h, w) bilinearly to `size` cells, so that each place in the photo stays itself.

    The cells of both maps begin at the photo's top left corner. If the two maps end at the same
    pixel, this is `resize`. Cells of 14 pixels cover 518 pixels of 512.

    cell, target: sides of a cell before and after, in pixels of the photo.
    """
    ends = [(n * cell, m * target) for n, m in zip(x.shape[-2:], size, strict=True)]
    if all(before == after for before, after in ends):
        return resize(x, size)
    return _by_matrices(x, size, (target / cell,) * 2)


def resize_by_matrices(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize as `resize` does, by a matrix product along each axis; equal up to rounding.

    In deterministic mode, PyTorch resizes on a GPU with an index for each pixel and keeps several
    tensors of the full size. With them, the paper's student would not fit a GPU of 80 GB.
    """
    steps = tuple(n / m for n, m in zip(x.shape[-2:], size, strict=True))
    return _by_matrices(x, size, steps)


def _by_matrices(x: Tensor, size: tuple[int, int], steps: tuple[float, float]) -> Tensor:
    """Resize to target pixels that are `steps` source pixels high and wide."""
    rows, columns = (
        _weights(n, m, step, x) for n, m, step in zip(x.shape[-2:], size, steps, strict=True)
    )
    return rows @ x @ columns.T


def _weights(source: int, target: int, step: float, like: Tensor) -> Tensor:
    """Return the weight (target, source) of each source pixel in each target pixel of one axis.

    They are made on the device of `like`: a copy from the CPU would wait for it.
    """
    place = (torch.arange(target, device=like.device) + 0.5) * step - 0.5
    place = place.clamp(0, source - 1)
    distance = (place[:, None] - torch.arange(source, device=like.device)).abs()
    return (1 - distance).clamp(min=0).to(like.dtype)
