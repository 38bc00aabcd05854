"""Photos in unusual formats, each with the pixels that it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ORIENTATION = 0x0112
HEIGHT, WIDTH = 24, 40

COLOURS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY = COLOURS[..., 0]
HALF = np.arange(WIDTH) < WIDTH // 2


def grey_as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def rotated(path: Path, pixels: np.ndarray = COLOURS, format: str = "PNG") -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # shown rotated clockwise
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(path, format, exif=exif)


def with_alpha(path: Path) -> None:
    alpha = np.where(HALF, 255, 0)[None, :, None].repeat(HEIGHT, axis=0)
    Image.fromarray(np.concatenate([COLOURS, alpha], axis=2).astype(np.uint8)).save(path, "PNG")


# kind -> (writes the photo without loss, the pixels that it shows)
PHOTOS: dict[str, tuple[Callable[[Path], None], np.ndarray]] = {
    "cmyk": (lambda p: Image.fromarray(COLOURS).convert("CMYK").save(p, "TIFF"), COLOURS),
    "16-bit": (lambda p: Image.fromarray(GREY * np.uint16(257)).save(p, "PNG"), grey_as_rgb(GREY)),
    "grey": (lambda p: Image.fromarray(GREY).save(p, "PNG"), grey_as_rgb(GREY)),
    "alpha": (with_alpha, np.where(HALF[:, None], COLOURS, 255).astype(np.uint8)),
    "rotated": (rotated, COLOURS),
    "rotated-tiff": (lambda p: rotated(p, GREY, "TIFF"), grey_as_rgb(GREY)),
    "1x1": (lambda p: Image.fromarray(COLOURS[:1, :1]).save(p, "PNG"), COLOURS[:1, :1]),
    "strip": (lambda p: Image.fromarray(COLOURS[:1]).save(p, "PNG"), COLOURS[:1]),
    "png": (lambda p: Image.fromarray(COLOURS).save(p, "PNG"), COLOURS),
}


def odd_name(path: Path) -> Path:
    """Return `path`, whose name is not UTF-8, if this file system takes such a name."""
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system refuses names that are not UTF-8, so no photo can have one")
    path.unlink()
    return path
