"""A photo that is read whole but too large for the memory is read in overlapping tiles."""

from __future__ import annotations

import math

from reclip.config import ImageSettings
from reclip.data.reading import whole_size

WHOLE_CELLS = 2**15  # of a grid at once: 2 megapixels at a stride of 8
TILE_CELLS, STEP_CELLS = 128, 96  # a tile's side, and from one to the next


def bounded(settings: ImageSettings, size: tuple[int, int], cell: int) -> ImageSettings:
    """`settings` for a photo of `size` (H, W): tiles instead of a whole beyond WHOLE_CELLS.

    cell: pixels a cell of the model's grid. Up to that size nothing changes; beyond it logits near
    a tile's edge are of what lies inside, and averaged where tiles overlap.
    """
    pixels = math.prod(whole_size(*size, settings))
    if settings.protocol == "slide" or pixels <= WHOLE_CELLS * cell**2:
        return settings
    tiles = {"protocol": "slide", "window": TILE_CELLS * cell, "stride": STEP_CELLS * cell}
    return settings.model_copy(update=tiles)
