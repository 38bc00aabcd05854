"""Hues, textures and outlines of the mini world: what is drawn, not what is chosen.

A class of the mini world is a hue times a texture, because a class must be recognisable from one
patch, as in photographs: a patch of a disk does not know that it is a disk.
"""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

HUES: dict[str, float] = {
    "red": 0.0,
    "yellow": 55.0,
    "green": 120.0,
    "blue": 222.0,
    "purple": 282.0,
    "teal": 172.0,
    "pink": 326.0,
}
"""Hue angles in degrees; the worlds take the first so many."""

HUE_SD = 9.0
"""Standard deviation of a region's hue around its class's, in degrees."""

NOISE_SD = (5.0, 16.0)
"""Range of the standard deviation of a scene's pixel noise, in grey levels."""

PERIOD = (3.8, 4.2)
"""Range of a texture's period in pixels; half a patch, so that one patch shows the texture."""

ANGLE_SD = 0.03
"""Standard deviation of a texture's direction around a multiple of 90 degrees, in radians."""

CONTRAST = (0.55, 0.9)
"""Range of the relative darkness of a texture's dark parts; small contrast makes textures alike."""


def _plane(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (u, v), each (H, W), in periods along a random pair of perpendicular axes."""
    angle = rng.integers(2) * np.pi / 2 + rng.normal(0, ANGLE_SD)
    wavelength = rng.uniform(*PERIOD)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    u = (x * np.cos(angle) + y * np.sin(angle)) / wavelength + rng.uniform()
    v = (y * np.cos(angle) - x * np.sin(angle)) / wavelength + rng.uniform()
    return 2 * np.pi * u, 2 * np.pi * v


def _stripes(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    u, v = _plane(size, rng)
    return np.sin(u + rng.uniform(0.0, 0.4) * np.sin(0.5 * v)) > 0


def _waves(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    u, v = _plane(size, rng)
    return np.sin(u + rng.uniform(1.4, 2.0) * np.sin(0.5 * v)) > 0


def _dots(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    u, v = _plane(size, rng)
    return np.sin(u) + np.sin(v) < rng.uniform(0.2, 0.8)


def _checks(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    u, v = _plane(size, rng)
    return np.sin(u) * np.sin(v) > 0


def _paint(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return np.full(size, rng.uniform(0.5, 1.0))


def _sand(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return ndimage.gaussian_filter(rng.standard_normal(size), 0.6) > 0


TEXTURES = {
    "stripes": _stripes,
    "waves": _waves,
    "dots": _dots,
    "checks": _checks,
    "paint": _paint,
    "sand": _sand,
}
"""Texture name -> drawer of a field (H, W): 1 where light, 0 where dark. Neighbours look alike."""


def fill(hue: str, texture: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Colours float32 (H, W, 3) in 0..255 of a surface of class "hue texture"."""
    angle = (HUES[hue] + rng.normal(0, HUE_SD)) % 360 / 360
    rgb = colorsys.hsv_to_rgb(angle, rng.uniform(0.55, 0.95), rng.uniform(0.7, 1.0))
    field = TEXTURES[texture](size, rng).astype(np.float32)
    shade = 1 - rng.uniform(*CONTRAST) * (1 - field)
    return 255 * shade[..., None] * np.asarray(rgb, np.float32)


def neutral(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Colours float32 (H, W, 3) in 0..255 of an unlabelled background: grey clouds."""
    cloud = ndimage.gaussian_filter(rng.standard_normal(size), rng.uniform(1.0, 4.0))
    cloud = cloud / (cloud.std() + 1e-6)
    grey = rng.uniform(70, 190) + rng.uniform(5, 30) * cloud
    tint = rng.normal(1.0, 0.03, 3)
    return np.clip(grey[..., None] * tint, 0, 255).astype(np.float32)


def outline(
    centre: tuple[float, float],
    radius: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Mask bool (H, W) of a random blob, ellipse or polygon about ``centre`` (y, x), in pixels."""
    corners = int(rng.choice([4, 5, 6, 48, 48, 48]))
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 2 * np.pi)
    reach = np.ones(corners)
    for wave in (2, 3):
        reach += rng.uniform(0, 0.22) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    y = centre[0] + radius * reach * np.sin(angle)
    x = centre[1] + radius * reach * np.cos(angle)
    canvas = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(canvas).polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=1)
    return np.array(canvas)
