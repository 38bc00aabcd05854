"""What a model says of one photo: a class for every pixel, and pictures of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from reclip.inference.drawing import with_legend

OVERLAY_SIDE = 1600
"""Pixels of an overlay's long side, unless asked for more."""


class Prediction(NamedTuple):
    """mask: uint8 (H, W). probabilities: computes float32 (C, H, W) when called."""

    mask: np.ndarray
    probabilities: Callable[[], np.ndarray]


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """A photo and the class of its every pixel.

    Attributes:
        image: RGB uint8 (H, W, 3), upright, as it was segmented.
        mask: uint8 (H, W), the number of the best class; of equal ones the first.
        class_names: C names; a class's place is its number.
        palette: RGB uint8 (C, 3).
    """

    image: np.ndarray
    mask: np.ndarray
    class_names: tuple[str, ...]
    palette: np.ndarray
    _probabilities: Callable[[], np.ndarray]

    def __repr__(self) -> str:
        shares = sorted(self.area().items(), key=lambda item: -item[1])
        most = ", ".join(f"{name} {share:.0%}" for name, share in shares[:3] if share)
        height, width = self.mask.shape
        return f"<Segmentation of {height}×{width} pixels: {most}>"

    def probabilities(self) -> np.ndarray:
        """Softmax over the classes, float32 (C, H, W), computed anew at every call.

        It takes 4·C·H·W bytes: 3 GiB for 20 classes and 40 megapixels. Not calibrated.
        """
        return self._probabilities()

    def pixels(self) -> np.ndarray:
        """Number of pixels of each class, int64 (C,)."""
        return np.bincount(self.mask.ravel(), minlength=len(self.class_names))

    def area(self) -> dict[str, float]:
        """Share of the photo of each class, by its name; together they are 1."""
        shares = self.pixels() / self.mask.size
        return dict(zip(self.class_names, shares.tolist(), strict=True))

    def palette_image(self) -> Image.Image:
        """The mask as an image of mode P, in the classes' colours; its values are the numbers."""
        image = Image.fromarray(self.mask).convert("L")
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette(self.palette.ravel().tolist())
        return image

    def overlay(self, opacity: float = 0.5, long_side: int | None = OVERLAY_SIDE) -> Image.Image:
        """The photo with the classes' colours over it, and below a legend of those it holds.

        opacity: 0 shows the photo alone, 1 the colours alone. long_side: larger photos are shown
        reduced to so many pixels; None: at their own size. Returns mode RGB.
        """
        photo, mask = Image.fromarray(self.image), self.palette_image()
        size = shown_size(*photo.size, long_side)
        if size != photo.size:
            photo, mask = photo.resize(size, Image.Resampling.BOX), mask.resize(size)
        picture = Image.blend(photo, mask.convert("RGB"), opacity)
        pixels = self.pixels()
        entries = [
            (
                tuple(self.palette[k].tolist()),
                f"{self.class_names[k]} {100 * pixels[k] / self.mask.size:.3g}%",
            )
            for k in np.argsort(-pixels, kind="stable")
            if pixels[k]
        ]
        return with_legend(picture, entries)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self.overlay()._repr_png_()


def shown_size(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """(width, height) of a picture that is reduced to a long side, if it is larger."""
    ratio = min(1.0, long_side / max(width, height)) if long_side else 1.0
    return max(1, round(width * ratio)), max(1, round(height * ratio))
