"""Views of an image: seeded augmented crops, with their geometry and colour.

The numbers of a view are drawn from (seed, view, image id) alone, so they do not depend on the
process or the order of the calls. The same view can be applied to a photo and to its mask.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from reclip.config.models import ImageSettings, ViewSettings
from reclip.data.reading import MEAN_STD, whole_size
from reclip.data.resize import resize_linear


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a label map, uint8 (H, W), by nearest neighbour."""
    if label.shape == tuple(size):
        return label
    pixels = torch.from_numpy(label.copy())[None, None].float()
    return functional.interpolate(pixels, size, mode="nearest-exact")[0, 0].byte().numpy()


def normalise(image: np.ndarray, norm: str) -> torch.Tensor:
    """Convert uint8 (H, W, 3) to float32 (3, H, W), normalised by MEAN_STD[norm]."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in MEAN_STD[norm])
    pixels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
    return pixels.sub_(mean).div_(std)


@dataclass(frozen=True)
class View:
    """One augmented crop: resize to `size`, cut `height`×`width` at (`top`, `left`), flip, colour.

    Lengths are pixels of the resized image. The cut is smaller than the crop setting if the resized
    image is; the rest of the crop is padding.

    Attributes:
        colour: brightness (added), contrast and saturation (factors), hue (added, OpenCV degrees).
    """

    size: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    flip: bool
    colour: tuple[float, float, float, float] | None

    @property
    def cut(self) -> tuple[slice, slice]:
        """Rows and columns of the resized image."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def draw_view(
    id: str, height: int, width: int, view: int, settings: ViewSettings, image: ImageSettings
) -> View:
    """Draw view number `view` of the image `id` of size (height, width)."""
    rng = np.random.default_rng([settings.seed, view, zlib.crc32(id.encode())])
    ratio = rng.uniform(*settings.scale)
    base = whole_size(height, width, image)
    size = tuple(max(1, int(side * ratio + 0.5)) for side in base)
    cut = tuple(min(side, settings.crop) for side in size)
    top, left = (int(rng.integers(0, side - c + 1)) for side, c in zip(size, cut, strict=True))
    flip = bool(rng.random() < settings.flip)
    colour = None
    if settings.photometric:
        # official ranges (of mmsegmentation's PhotoMetricDistortion), each with probability 0.5
        on = rng.random(4) < 0.5
        drawn = (rng.uniform(-32, 32), *rng.uniform(0.5, 1.5, 2), rng.uniform(-18, 18))
        colour = tuple(
            float(v if use else neutral)
            for v, use, neutral in zip(drawn, on, (0, 1, 1, 0), strict=True)
        )
    return View(size, top, left, *cut, flip, colour)


def crop_image(image: np.ndarray, view: View) -> np.ndarray:
    """Return the view of a photo: uint8 (view.height, view.width, 3), without padding."""
    cut = resize_linear(image, *view.size, *view.cut)
    cut = cut[:, ::-1] if view.flip else cut
    return distort(cut, view.colour) if view.colour else np.ascontiguousarray(cut)


def crop_label(label: np.ndarray, view: View) -> np.ndarray:
    """Return the same view of a label map of the photo's size: uint8 (view.height, view.width)."""
    cut = resize_label(label, view.size)[view.cut]
    # A copy: a flipped single column keeps a negative stride in numpy, which torch refuses.
    return (cut[:, ::-1] if view.flip else cut).copy()


def distort(image: np.ndarray, colour: tuple[float, float, float, float]) -> np.ndarray:
    """Distort uint8 (H, W, 3) by `View.colour`; a full turn of hue is 180 OpenCV degrees."""
    brightness, contrast, saturation, hue = colour
    pixels = np.clip(image.astype(np.float32) + brightness, 0, 255)
    pixels = np.clip(pixels * contrast, 0, 255)
    grey = pixels.max(axis=2, keepdims=True)  # value of HSV: saturation moves away from it
    pixels = np.clip(grey - (grey - pixels) * saturation, 0, 255)
    if hue:
        pixels = np.clip(pixels @ _hue_rotation(hue * 2).T, 0, 255)
    return pixels.round().astype(np.uint8)


def _hue_rotation(degrees: float) -> np.ndarray:
    """Return the rotation (3, 3) of RGB about the grey axis."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees)) / np.sqrt(3)
    rest = (1 - cos) / 3
    row = [cos + rest, rest - sin, rest + sin]
    return np.array([row, row[2:] + row[:2], row[1:] + row[:1]], np.float32)


def pad_to(tensor: torch.Tensor, height: int, width: int, value: float = 0.0) -> torch.Tensor:
    """Pad the last two axes to (height, width), at the right and bottom."""
    right, bottom = width - tensor.shape[-1], height - tensor.shape[-2]
    return functional.pad(tensor, (0, right, 0, bottom), value=value)
