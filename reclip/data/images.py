"""Reading photos and label maps, and writing label maps; every odd file gets one sentence."""

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

IGNORED = 255
MAX_PIXELS = 200_000_000  # ours: beyond it, a file is more likely an attack than a photo

Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow warns above it, and refuses above twice as many

# Whatever the name says; EPS, say, Pillow would hand to a program that runs what is in the file.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """What a decoder raises becomes a sentence; on damaged files it is of a dozen types."""
    try:
        yield
    except FileNotFoundError as error:
        raise ReclipError(f"no file '{path}': restore it or leave it out") from error
    except PermissionError as error:
        raise ReclipError(
            f"'{path}' may not be read: give yourself the right to, or leave it out"
        ) from error
    except UnidentifiedImageError as error:
        raise ReclipError(
            f"'{path}' cannot be read as an image (it is none of {', '.join(FORMATS)}): make a "
            f"JPEG of it, replace it or leave it out"
        ) from error
    except Image.DecompressionBombError as error:
        raise ReclipError(
            f"'{path}' has more than {MAX_PIXELS:,} pixels: make it smaller or leave it out"
        ) from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        reason = reason or type(error).__name__
        raise ReclipError(
            f"'{path}' cannot be read as an image ({reason}): replace it or leave it out"
        ) from error


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """A file's image. Raises ReclipError as `reading`; a pipe would be waited for without end."""
    with reading(path):
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError("it is no file")
        with Image.open(path, formats=FORMATS) as image:
            yield image


def read_image(path: str | Path) -> np.ndarray:
    """RGB uint8 (H, W, 3), upright by its EXIF orientation; any mode, as in `rgb_pixels`."""
    with opened(path) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return rgb_pixels(image)


def rgb_pixels(image: Image.Image) -> np.ndarray:
    """RGB uint8 (H, W, 3) of an image that is upright; grey, CMYK, 16-bit, alpha converted.

    Transparent pixels are laid on white. White is 65535 in a 16-bit image, and the brightest pixel
    in one of 32 bits, which has no white of its own.
    """
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257  # 65535 is 255, rounded
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.mode in ("I", "F"):
        grey = np.asarray(image, np.float64).clip(0)
        image = Image.fromarray((grey / max(grey.max(), 1) * 255).round().astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGBA", rgba.size, "white")
        image.alpha_composite(rgba)
    if image.mode != "RGB":  # or it would be copied: 160 MB of a photo of 40 megapixels
        image = image.convert("RGB")
    return np.array(image)


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) as :func:`read_image` would return it, from the header alone."""
    with opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def read_label(path: str | Path) -> np.ndarray:
    """uint8 (H, W) class ids from a palette or grey PNG, as stored."""
    with opened(path) as image:
        image.load()
        mode, format, ids = image.mode, image.format, np.array(image, np.uint8)
    if mode not in ("P", "L", "1"):
        raise ReclipError(
            f"label '{path}' has mode {mode}, not one id a pixel: store it as a palette PNG"
        )
    if format == "JPEG":
        raise ReclipError(
            f"label '{path}' is a JPEG, which alters ids: make it again as a palette PNG"
        )
    return ids


def palette(num_classes: int) -> list[int]:
    """A colour a class, evenly spread over the hues, 255 (ignored) white; 768 flat values."""
    flat = [255, 255, 255] * 256
    for k in range(num_classes):
        hue, ring = k * 0.618034 % 1.0, k % 3
        rgb = colorsys.hsv_to_rgb(hue, (0.85, 0.55, 0.95)[ring], (0.95, 0.8, 0.6)[ring])
        flat[3 * k : 3 * k + 3] = [round(255 * v) for v in rgb]
    return flat


def write_label(path: str | Path, label: np.ndarray, num_classes: int) -> None:
    """Class ids (H, W) as a palette PNG, in one step."""
    image = Image.fromarray(label.astype(np.uint8), mode=None).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(palette(num_classes))
    with atomic(path) as partial:
        image.save(partial, "PNG", optimize=False)


def write_image(path: str | Path, image: np.ndarray) -> None:
    with atomic(path) as partial:
        Image.fromarray(image).save(partial, "PNG", optimize=False)
