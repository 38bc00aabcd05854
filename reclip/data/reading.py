"""How a photo is read: its size, its windows and its normalisation (without torch)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from reclip.config.models import ImageSettings
from reclip.data.resize import resize_linear
from reclip.data.window_grid import Window

# Mean and standard deviation of RGB values 0 to 255, rounded as in the official configurations.
# The CVPR-era recipe gives ImageNet's to CLIP, too. Inception's, 0.5 and 0.5 of 255, are those of
# some of LAION's weights.
MEAN_STD = {
    "clip": ((122.771, 116.746, 104.094), (68.501, 66.632, 70.323)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "inception": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
}


def resized_size(height: int, width: int, short: float, long: float) -> tuple[int, int]:
    """Return the largest (H, W) of this aspect ratio with sides of at most `short` and `long`."""
    scale = min(short / min(height, width), long / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def whole_size(height: int, width: int, settings: ImageSettings) -> tuple[int, int]:
    """Return the size (H, W) at which a whole image is read."""
    if settings.short_side is None:
        return height, width
    return resized_size(height, width, settings.short_side, settings.long_side)


class Piece(NamedTuple):
    """A window of an image as read, and its logits (C, h, w): a torch tensor or a numpy array."""

    window: Window
    logits: Any


class Frame(NamedTuple):
    """Where logits go.

    cell: pixels of the read image a grid cell.
    read: (H, W) of the image as read; size: (H, W) of the photo.
    overhang: what becomes of the last cells' padding (see ImageSettings).
    """

    cell: int
    read: tuple[int, int]
    size: tuple[int, int]
    overhang: Literal["cut", "squeezed"] = "cut"


def windows(size: tuple[int, int], settings: ImageSettings) -> list[Window]:
    """Return the windows in which an image of `size` (H, W) is read: one, or a sliding window's.

    The last window of a row or column is moved back to end at the edge. A side shorter than the
    window is read whole.
    """
    if settings.protocol == "whole":
        return [Window(0, 0, *size)]

    def starts(side: int) -> list[int]:
        last = max(side - settings.window, 0)
        return [*range(0, last, settings.stride), last]

    height, width = (min(side, settings.window) for side in size)
    return [Window(top, left, height, width) for top in starts(size[0]) for left in starts(size[1])]


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 (H, W, 3) bilinearly without antialiasing, as OpenCV does."""
    return image if image.shape[:2] == tuple(size) else resize_linear(image, *size)


def read_in_windows(
    photo: np.ndarray, settings: ImageSettings
) -> tuple[tuple[int, int], list[tuple[Window, np.ndarray]]]:
    """Resize a photo, uint8 (h, w, 3); return its new (H, W), and each window with its pixels."""
    size = whole_size(*photo.shape[:2], settings)
    image = resize_image(photo, size)
    cuts = [
        (w, image[w.top : w.top + w.height, w.left : w.left + w.width])
        for w in windows(size, settings)
    ]
    return size, cuts
