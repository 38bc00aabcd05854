"""A photo that is read whole but too large for the memory is read in overlapping tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from reclip.config.models import ImageSettings
from reclip.data.reading import Window, whole_size

WHOLE_CELLS = 2**15  # of a grid at once: 2 megapixels at a stride of 8
TILE_CELLS, STEP_CELLS = 128, 96  # a tile's side, and from one to the next
MARGIN_CELLS = 14  # along a tile's edges inside the photo, where padding shows: left to the next


def bounded(settings: ImageSettings, size: tuple[int, int], cell: int) -> ImageSettings:
    """`settings` for a photo of `size` (H, W): tiles instead of a whole beyond WHOLE_CELLS.

    cell: pixels a cell of the model's grid. Up to that size `settings` itself is returned.
    """
    pixels = math.prod(whole_size(*size, settings))
    if settings.protocol == "slide" or pixels <= WHOLE_CELLS * cell**2:
        return settings
    tiles = {"protocol": "slide", "window": TILE_CELLS * cell, "stride": STEP_CELLS * cell}
    return settings.model_copy(update=tiles)


def without_margins(
    pieces: Iterable[tuple[Window, Any]], read: tuple[int, int], cell: int
) -> list[tuple[Window, Any]]:
    """Tiles with their logits (C, h, w), tensors or arrays, cut where another knows better.

    read: (H, W) of the image as read. What remains still overlaps, and is averaged there.
    """
    found = []
    for (top, left, height, width), logits in pieces:
        rows, columns = logits.shape[-2:]
        above, before = MARGIN_CELLS * (top > 0), MARGIN_CELLS * (left > 0)
        below = MARGIN_CELLS * (top + height < read[0])
        after = MARGIN_CELLS * (left + width < read[1])
        window = Window(
            top + above * cell,
            left + before * cell,
            height - (above + below) * cell,
            width - (before + after) * cell,
        )
        found.append((window, logits[:, above : rows - below, before : columns - after]))
    return found
