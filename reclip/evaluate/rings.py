"""Rings of equal width around the image centre."""

from __future__ import annotations

import torch
from torch import Tensor


def ring_map(height: int, width: int, rings: int, device: torch.device) -> Tensor:
    """Return the ring of every pixel, int16 (height, width): 0 is the innermost.

    Integers decide, so every machine draws the same borders.
    """
    diagonal = height**2 + width**2
    dtype = torch.int32 if diagonal < 2**31 else torch.int64
    # Twice the offsets from the centre are whole numbers; the half diagonal doubles as well.
    y = torch.arange(1 - height, height, 2, dtype=dtype, device=device)
    x = torch.arange(1 - width, width, 2, dtype=dtype, device=device)
    starts = [-(-(k * k * diagonal) // rings**2) for k in range(1, rings)]
    starts = torch.tensor(starts, dtype=dtype, device=device)
    squares = (y * y)[:, None] + x * x
    return torch.bucketize(squares, starts, out_int32=True, right=True).to(torch.int16)
