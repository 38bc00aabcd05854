"""The result for one photo: a class for every pixel, and pictures of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from reclip.inference.drawing import with_legend
from reclip.inference.uncertainty import Square, Uncertainty, mean_of

OVERLAY_SIDE = 1600  # default for the long side of an overlay, in pixels


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """A photo and the class of every pixel.

    Attributes:
        image: the photo as it was segmented, RGB uint8 (H, W, 3), upright.
        mask: number of the best class, uint8 (H, W); the first of equal classes.
        class_names: C names; the index of a class is its number in the mask.
        palette: RGB uint8 (C, 3).
    """

    image: np.ndarray
    mask: np.ndarray
    class_names: tuple[str, ...]
    palette: np.ndarray
    _probabilities: Callable[[], np.ndarray]
    _squares: Callable[[], Iterable[Square]]

    def __repr__(self) -> str:
        shares = sorted(self.area().items(), key=lambda item: -item[1])
        most = ", ".join(f"{name} {share:.0%}" for name, share in shares[:3] if share)
        height, width = self.mask.shape
        return f"<Segmentation of {height}×{width} pixels: {most}>"

    def probabilities(self) -> np.ndarray:
        """Return the softmax over the classes, float32 (C, H, W). It is not calibrated.

        Every call computes it again. It takes 4·C·H·W bytes: 3 GiB for 20 classes and 40
        megapixels.
        """
        return self._probabilities()

    def entropy(self) -> np.ndarray:
        """Return the entropy of each pixel's probabilities, float32 (H, W), divided by ln C.

        0: the model is certain; 1: all classes are equally probable. Needs little memory besides.
        """
        found = np.empty(self.mask.shape, np.float32)
        for square in self._squares():
            found[square.place] = square.entropy
        return found

    def uncertainty(self) -> Uncertainty:
        """Return the photo's mean confidence, mean entropy, and mean probability of each class.

        Check the photos of the highest entropy first. Needs little memory, unlike
        :meth:`probabilities`.
        """
        return mean_of(self._squares())

    def pixels(self) -> np.ndarray:
        """Return the number of pixels of each class, int64 (C,)."""
        return np.bincount(self.mask.ravel(), minlength=len(self.class_names))

    def area(self) -> dict[str, float]:
        """Return each class's share of the photo, by its name; the shares sum to 1."""
        shares = self.pixels() / self.mask.size
        return dict(zip(self.class_names, shares.tolist(), strict=True))

    def palette_image(self) -> Image.Image:
        """Return the mask as an image of mode P: values are class numbers, colours the palette."""
        image = Image.fromarray(self.mask).convert("L")
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette(self.palette.ravel().tolist())
        return image

    def overlay(self, opacity: float = 0.5, long_side: int | None = OVERLAY_SIDE) -> Image.Image:
        """Return the photo under the colours of its classes, with a legend below, in mode RGB.

        opacity: of the colours; 0 shows only the photo, 1 only the colours.
        long_side: larger photos are reduced to this many pixels; None: keep the size.
        """
        photo, mask = Image.fromarray(self.image), self.palette_image()
        size = shown_size(*photo.size, long_side)
        if size != photo.size:
            photo, mask = photo.resize(size, Image.Resampling.BOX), mask.resize(size)
        picture = Image.blend(photo, mask.convert("RGB"), opacity)
        pixels = self.pixels()
        shares = 100 * pixels / self.mask.size
        entries = [
            (tuple(self.palette[k].tolist()), f"{self.class_names[k]} {shares[k]:.3g}%")
            for k in by_size(pixels)
        ]
        return with_legend(picture, entries)

    def _repr_png_(self) -> bytes:
        """Return the overlay as PNG, which a notebook shows."""
        return self.overlay()._repr_png_()


def by_size(pixels: np.ndarray) -> list[int]:
    """Return the classes that have any pixels, the largest first. pixels: number of each class."""
    return [k for k in np.argsort(-pixels, kind="stable").tolist() if pixels[k]]


def shown_size(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """Return (width, height), reduced to `long_side` pixels if larger; None: never reduced."""
    ratio = min(1.0, long_side / max(width, height)) if long_side else 1.0
    return max(1, round(width * ratio)), max(1, round(height * ratio))
