"""Read photos and label maps, and write label maps; every odd file gives one clear sentence."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from reclip.common.errors import ReclipError
from reclip.common.files import atomic

IGNORED = 255  # the label of a pixel without a class
MAX_PIXELS = 200_000_000  # our choice: a larger file is more likely an attack than a photo

Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow warns above it, and refuses above twice as many

# The formats that Pillow may try, whatever the file's name. For EPS it would run a program.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn the errors of a decoder, of a dozen types, into a ReclipError that names `path`."""
    try:
        yield
    except Exception as error:
        raise ReclipError(_explain(error, path)) from error


def _explain(error: Exception, path: str | Path) -> str:
    if isinstance(error, FileNotFoundError):
        return f"no file '{path}': restore it or remove it from the data"
    if isinstance(error, PermissionError):
        return f"'{path}' may not be read: change its permissions or remove it"
    if isinstance(error, Image.DecompressionBombError):
        return f"'{path}' has more than {MAX_PIXELS:,} pixels: make it smaller or remove it"
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    fix = "replace it or remove it"
    if isinstance(error, UnidentifiedImageError):
        reason = f"it is none of {', '.join(FORMATS)}"
        fix = f"make a JPEG of it, {fix}"
    return f"'{path}' cannot be read as an image ({reason or type(error).__name__}): {fix}"


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """Open an image file. Raises ReclipError: as `reading`, or it is no regular file.

    Opening a pipe would wait for ever.
    """
    with reading(path):
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError("it is no file")
        with Image.open(path, formats=FORMATS) as image:
            yield image


def read_image(path: str | Path) -> np.ndarray:
    """Return RGB uint8 (H, W, 3), upright by its EXIF orientation; any mode, as `rgb_pixels`."""
    with opened(path) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return rgb_pixels(image)


def rgb_pixels(image: Image.Image) -> np.ndarray:
    """Return RGB uint8 (H, W, 3) of an upright grey, CMYK, 16-bit, 32-bit or transparent image.

    Transparent pixels lie on white. White is 65535 in a 16-bit image. A 32-bit image has no white
    of its own, so its brightest pixel is white.
    """
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257  # 65535 becomes 255, rounded
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.mode in ("I", "F"):
        grey = np.asarray(image, np.float64).clip(0)
        image = Image.fromarray((grey / max(grey.max(), 1) * 255).round().astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGBA", rgba.size, "white")
        image.alpha_composite(rgba)
    if image.mode != "RGB":  # converting RGB would copy it: 160 MB for 40 megapixels
        image = image.convert("RGB")
    return np.array(image)


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (H, W) as of :func:`read_image`, from the header alone."""
    with opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def read_label(path: str | Path) -> np.ndarray:
    """Return the stored class ids, uint8 (H, W), of a palette or grey PNG."""
    with opened(path) as image:
        image.load()
        mode, format, ids = image.mode, image.format, np.array(image, np.uint8)
    if mode not in ("P", "L", "1"):
        raise ReclipError(
            f"label '{path}' has mode {mode}, not one id a pixel: store it as a palette PNG"
        )
    if format == "JPEG":
        raise ReclipError(f"label '{path}' is a JPEG, which alters ids: store it as a palette PNG")
    return ids


def palette(num_classes: int) -> list[int]:
    """Return 768 flat values: a colour per class, spread over the hues; white for the rest."""
    flat = [255, 255, 255] * 256
    for k in range(num_classes):
        hue, ring = k * 0.618034 % 1.0, k % 3
        rgb = colorsys.hsv_to_rgb(hue, (0.85, 0.55, 0.95)[ring], (0.95, 0.8, 0.6)[ring])
        flat[3 * k : 3 * k + 3] = [round(255 * v) for v in rgb]
    return flat


def write_label(path: str | Path, label: np.ndarray, num_classes: int) -> None:
    """Write class ids (H, W) as a palette PNG, atomically."""
    height, width = label.shape
    image = Image.frombytes("P", (width, height), label.astype(np.uint8).tobytes())
    image.putpalette(palette(num_classes))
    with atomic(path) as partial:
        image.save(partial, "PNG", optimize=False)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3) as a PNG, atomically."""
    with atomic(path) as partial:
        Image.fromarray(image).save(partial, "PNG", optimize=False)
