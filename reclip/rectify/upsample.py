"""Upsample logits on grids of cells to the pixels of the photo."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reclip.data.reading import Frame, Piece
from reclip.data.resize_maps import resize


def upsample(pieces: Sequence[Piece], frame: Frame) -> torch.Tensor:
    """Return logits (C, H, W) of the photo, by two bilinear steps.

    The first step goes from cells to pixels of the image as read, the second to the photo's
    pixels. Where windows overlap, their logits are averaged.
    """
    grown = [_grow(piece, frame) for piece in pieces]
    full = grown[0]
    if len(pieces) > 1:
        full = full.new_zeros(full.shape[0], *frame.read)
        count = full.new_zeros(frame.read)
        for piece, logits in zip(pieces, grown, strict=True):
            top, left, height, width = piece.window
            full[:, top : top + height, left : left + width] += logits
            count[top : top + height, left : left + width] += 1
        full /= count
    if tuple(frame.read) != tuple(frame.size):
        full = resize(full[None], frame.size)[0]
    return full


def _grow(piece: Piece, frame: Frame) -> torch.Tensor:
    """Return the piece's logits at each pixel of its window, (C, height, width)."""
    _, _, height, width = piece.window
    if frame.overhang == "squeezed":
        return resize(piece.logits[None], (height, width))[0]
    padded = tuple(side * frame.cell for side in piece.logits.shape[-2:])
    return resize(piece.logits[None], padded)[0, :, :height, :width]
