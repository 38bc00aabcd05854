"""Geometry and colour of the views of an image: seeded augmented crops.

A view is described by numbers drawn from (seed, view, image id) alone, so it is the same whichever
process asks and in whichever order; the same view can be applied to a photo and to its mask.
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
    """Nearest neighbour, uint8 (H, W)."""
    if label.shape == tuple(size):
        return label
    pixels = torch.from_numpy(label.copy())[None, None].float()
    return functional.interpolate(pixels, size, mode="nearest-exact")[0, 0].byte().numpy()


def normalise(image: np.ndarray, norm: str) -> torch.Tensor:
    """uint8 (H, W, 3) to float32 (3, H, W), by the mean and deviation of MEAN_STD[norm]."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in MEAN_STD[norm])
    pixels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
    return pixels.sub_(mean).div_(std)


@dataclass(frozen=True)
class View:
    """One augmented crop: resize to `size`, cut `height`×`width` at (`top`, `left`), flip, colour.

    Lengths are pixels of the resized image. The cut is smaller than the crop setting where the
    resized image is; the rest of the crop is padding (see :func:`crop_image`).
    """

    size: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    flip: bool
    colour: (
        tuple[float, float, float, float] | None
    )  # brightness +, contrast ×, saturation ×, hue +


def draw_view(
    id: str, height: int, width: int, view: int, settings: ViewSettings, image: ImageSettings
) -> View:
    """View number `view` of the image `id` of size (height, width)."""
    rng = np.random.default_rng([settings.seed, view, zlib.crc32(id.encode())])
    ratio = rng.uniform(*settings.scale)
    base = whole_size(height, width, image)
    size = tuple(max(1, int(side * ratio + 0.5)) for side in base)
    cut = tuple(min(side, settings.crop) for side in size)
    top, left = (int(rng.integers(0, side - c + 1)) for side, c in zip(size, cut, strict=True))
    flip = bool(rng.random() < settings.flip)
    colour = None
    if settings.photometric:
        # official ranges (after mmsegmentation's PhotoMetricDistortion), each with probability .5
        on = rng.random(4) < 0.5
        drawn = (rng.uniform(-32, 32), *rng.uniform(0.5, 1.5, 2), rng.uniform(-18, 18))
        colour = tuple(
            float(v if use else neutral)
            for v, use, neutral in zip(drawn, on, (0, 1, 1, 0), strict=True)
        )
    return View(size, top, left, *cut, flip, colour)


def crop_image(image: np.ndarray, view: View) -> np.ndarray:
    """The view of a photo: uint8 (view.height, view.width, 3), without padding."""
    rows = slice(view.top, view.top + view.height)
    columns = slice(view.left, view.left + view.width)
    cut = resize_linear(image, *view.size, rows, columns)
    cut = cut[:, ::-1] if view.flip else cut
    return distort(cut, view.colour) if view.colour else np.ascontiguousarray(cut)


def crop_label(label: np.ndarray, view: View) -> np.ndarray:
    """The same view of a label map of the photo's size: uint8 (view.height, view.width)."""
    cut = resize_label(label, view.size)
    cut = cut[view.top : view.top + view.height, view.left : view.left + view.width]
    # A copy: of a single column numpy leaves a flip's negative stride, which torch refuses.
    return (cut[:, ::-1] if view.flip else cut).copy()


def distort(image: np.ndarray, colour: tuple[float, float, float, float]) -> np.ndarray:
    """Brightness (added), contrast, saturation (factors), hue (OpenCV degrees, 180 a turn)."""
    brightness, contrast, saturation, hue = colour
    pixels = np.clip(image.astype(np.float32) + brightness, 0, 255)
    pixels = np.clip(pixels * contrast, 0, 255)
    grey = pixels.max(axis=2, keepdims=True)  # value of HSV: saturation moves away from it
    pixels = np.clip(grey - (grey - pixels) * saturation, 0, 255)
    if hue:
        pixels = np.clip(pixels @ _hue_rotation(hue * 2).T, 0, 255)
    return pixels.round().astype(np.uint8)


def _hue_rotation(degrees: float) -> np.ndarray:
    """Rotation of RGB about the grey axis: (3, 3)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees)) / np.sqrt(3)
    rest = (1 - cos) / 3
    return np.array(
        [
            [cos + rest, rest - sin, rest + sin],
            [rest + sin, cos + rest, rest - sin],
            [rest - sin, rest + sin, cos + rest],
        ],
        np.float32,
    )


def pad_to(tensor: torch.Tensor, height: int, width: int, value: float = 0.0) -> torch.Tensor:
    """Pad the last two axes at the right and bottom."""
    return functional.pad(
        tensor, (0, width - tensor.shape[-1], 0, height - tensor.shape[-2]), value=value
    )


def resize(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear resize of (B, D, h, w) to (B, D, *size) with aligned pixel areas."""
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
