"""Read a photo that is too large for the memory in overlapping tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable

from reclip.config.models import ImageSettings
from reclip.data.reading import Frame, Piece, Window, whole_size

WHOLE_CELLS = 2**15  # most cells of a photo read whole: 2 megapixels at a stride of 8
TILE_CELLS, STEP_CELLS = 128, 96  # side of a tile, and step from one tile to the next
MARGIN_CELLS = 14  # at edges inside the photo the padding distorts logits: another tile covers them


def bounded(settings: ImageSettings, size: tuple[int, int], cell: int) -> ImageSettings:
    """Return `settings`, with tiles for a photo of `size` (H, W) of more than WHOLE_CELLS cells.

    cell: side of a cell of the model's grid in pixels.
    Smaller photos and sliding windows get `settings` itself.
    """
    pixels = math.prod(whole_size(*size, settings))
    if settings.protocol == "slide" or pixels <= WHOLE_CELLS * cell**2:
        return settings
    tiles = {"protocol": "slide", "window": TILE_CELLS * cell, "stride": STEP_CELLS * cell}
    return settings.model_copy(update=tiles)


def without_margins(pieces: Iterable[Piece], frame: Frame) -> list[Piece]:
    """Return tiles without their margins, except at the photo's edges.

    The tiles still overlap. Their logits are averaged there, as those of sliding windows are.
    """
    cell, (read_height, read_width) = frame.cell, frame.read
    found = []
    for (top, left, height, width), logits in pieces:
        rows, columns = logits.shape[-2:]
        inside = (top > 0, top + height < read_height, left > 0, left + width < read_width)
        above, below, before, after = (MARGIN_CELLS * edge for edge in inside)
        window = Window(
            top + above * cell,
            left + before * cell,
            height - (above + below) * cell,
            width - (before + after) * cell,
        )
        found.append(Piece(window, logits[:, above : rows - below, before : columns - after]))
    return found
