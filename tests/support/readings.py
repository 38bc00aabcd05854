"""Photos read in every way, and random logits of their windows."""

from __future__ import annotations

import torch

from reclip.config.models import ImageSettings
from reclip.data.reading import Frame, Piece, windows

# The settings, the size as read, and the photo's own size.
READINGS = {
    "whole": (ImageSettings(), (37, 50), (37, 50)),
    "resized": (ImageSettings(), (37, 50), (74, 61)),
    "reduced": (ImageSettings(), (37, 50), (5, 7)),
    "slide": (ImageSettings(protocol="slide", window=24, stride=16), (37, 50), (90, 61)),
    "tall": (ImageSettings(protocol="slide", window=24, stride=10), (70, 13), (70, 13)),
    "squeezed": (ImageSettings(overhang="squeezed"), (37, 50), (74, 61)),
    "one pixel": (ImageSettings(), (1, 1), (1, 1)),
}


def random_logits(reading: str) -> tuple[list[Piece], list[Piece], Frame]:
    """Return logits of 5 classes for each window, as tensors and as arrays, and their frame."""
    settings, read, size = READINGS[reading]
    generator = torch.Generator().manual_seed(0)
    pieces = []
    for window in windows(read, settings):
        cells = (-(-side // 8) for side in window[2:])
        pieces.append(Piece(window, torch.randn(5, *cells, generator=generator)))
    arrays = [Piece(piece.window, piece.logits.numpy()) for piece in pieces]
    return pieces, arrays, Frame(8, read, size, settings.overhang)
