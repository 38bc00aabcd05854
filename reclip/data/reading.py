"""How a photo is read: at which size, in which windows, with which normalisation (no torch)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reclip.config.models import ImageSettings
from reclip.data.resize import resize_linear

# Of RGB values 0 to 255, as the official configurations round them: CLIP's own, and ImageNet's,
# which the CVPR-era recipe gives to CLIP too.
MEAN_STD = {
    "clip": ((122.771, 116.746, 104.094), (68.501, 66.632, 70.323)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}


def resized_size(height: int, width: int, short: float, long: float) -> tuple[int, int]:
    """(H, W) with the aspect ratio kept, short side at most `short`, long side at most `long`."""
    scale = min(short / min(height, width), long / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def whole_size(height: int, width: int, settings: ImageSettings) -> tuple[int, int]:
    """Size at which a whole image is read."""
    if settings.short_side is None:
        return height, width
    return resized_size(height, width, settings.short_side, settings.long_side)


class Window(NamedTuple):
    """A piece of an image as read, in its pixels."""

    top: int
    left: int
    height: int
    width: int


def windows(size: tuple[int, int], settings: ImageSettings) -> list[Window]:
    """The pieces in which an image of `size` (H, W) is read: one, or those of the sliding window.

    The last window of a row or column is moved back to end at the edge; a side shorter than the
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
    """Bilinear without antialiasing, as OpenCV has it: uint8 (H, W, 3)."""
    return image if image.shape[:2] == tuple(size) else resize_linear(image, *size)


def read_in_windows(
    photo: np.ndarray, settings: ImageSettings
) -> tuple[tuple[int, int], list[tuple[Window, np.ndarray]]]:
    """(H, W) at which a photo uint8 (h, w, 3) is read, and every window with its pixels of that."""
    size = whole_size(*photo.shape[:2], settings)
    image = resize_image(photo, size)
    cuts = []
    for window in windows(size, settings):
        top, left, height, width = window
        cuts.append((window, image[top : top + height, left : left + width]))
    return size, cuts
