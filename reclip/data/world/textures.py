"""Hues, textures and outlines of the mini world: how a surface is drawn.

A class is a hue times a texture, so that one patch is enough to recognise it, as in photographs. A
patch of a disk, for example, does not show that it is a disk.
"""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

# Hue angles in degrees; a world takes the first few.
_NAMES = ("red", "yellow", "green", "blue", "purple", "teal", "pink")
HUES = dict(zip(_NAMES, (0.0, 55.0, 120.0, 222.0, 282.0, 172.0, 326.0), strict=True))

TEXTURES = ("stripes", "waves", "dots", "checks", "paint", "sand")  # neighbours look alike

# Standard deviations and ranges of the random draws.
HUE_SD = 9.0  # degrees, of a region's hue around its class's
NOISE_SD = (5.0, 16.0)  # grey levels; the standard deviation of a scene's pixel noise
PERIOD = (3.8, 4.2)  # pixels a period; half a patch, so that one patch shows the texture
ANGLE_SD = 0.03  # radians, of a texture's direction around a multiple of 90 degrees
CONTRAST = (0.55, 0.9)  # relative darkness of the dark parts; small values make textures alike


def _field(texture: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the lightness (H, W) of a texture: 1 where light, 0 where dark."""
    if texture == "paint":
        return np.full(size, rng.uniform(0.5, 1.0))
    if texture == "sand":
        return ndimage.gaussian_filter(rng.standard_normal(size), 0.6) > 0
    u, v = _plane(size, rng)
    if texture == "dots":
        return np.sin(u) + np.sin(v) < rng.uniform(0.2, 0.8)
    if texture == "checks":
        return np.sin(u) * np.sin(v) > 0
    bend = {"stripes": (0.0, 0.4), "waves": (1.4, 2.0)}[texture]
    return np.sin(u + rng.uniform(*bend) * np.sin(0.5 * v)) > 0


def _plane(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return phases (u, v), each (H, W), in radians along two random perpendicular axes."""
    angle = rng.integers(2) * np.pi / 2 + rng.normal(0, ANGLE_SD)
    wavelength = rng.uniform(*PERIOD)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    u = (x * np.cos(angle) + y * np.sin(angle)) / wavelength + rng.uniform()
    v = (y * np.cos(angle) - x * np.sin(angle)) / wavelength + rng.uniform()
    return 2 * np.pi * u, 2 * np.pi * v


def fill(angle: float, texture: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the colours, float32 (H, W, 3) in 0..255, of a surface: a hue angle and a texture."""
    hue = (angle + rng.normal(0, HUE_SD)) % 360 / 360
    rgb = colorsys.hsv_to_rgb(hue, rng.uniform(0.55, 0.95), rng.uniform(0.7, 1.0))
    field = _field(texture, size, rng).astype(np.float32)
    shade = 1 - rng.uniform(*CONTRAST) * (1 - field)
    return 255 * shade[..., None] * np.asarray(rgb, np.float32)


def photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 (H, W, 3) of drawn colours, with a random exposure and pixel noise."""
    image = image * rng.uniform(0.8, 1.15) + rng.normal(0, rng.uniform(*NOISE_SD), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def neutral(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the colours, float32 (H, W, 3) in 0..255, of an unlabelled background: grey clouds."""
    cloud = ndimage.gaussian_filter(rng.standard_normal(size), rng.uniform(1.0, 4.0))
    cloud = cloud / (cloud.std() + 1e-6)
    grey = rng.uniform(70, 190) + rng.uniform(5, 30) * cloud
    tint = rng.normal(1.0, 0.03, 3)
    return np.clip(grey[..., None] * tint, 0, 255).astype(np.float32)


def outline(
    centre: tuple[float, float], radius: float, size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Return the mask, bool (H, W), of a random blob, ellipse or polygon.

    centre: (y, x); it and `radius` are in pixels.
    """
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
