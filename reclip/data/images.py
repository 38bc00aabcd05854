"""Read photos and label maps, and write label maps; every odd file gives one clear sentence."""

from __future__ import annotations

import colorsys
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from reclip.common.errors import ReclipError
from reclip.common.files import atomic
from reclip.common.text import is_utf8
from reclip.data.image_files import is_raw_name
from reclip.data.label_colours import LabelColours
from reclip.data.png_chunks import pixel_chunks
from reclip.data.upright import load, upright_pixels, upright_size

IGNORED = 255  # the label of a pixel without a class
MAX_PIXELS = 200_000_000  # our choice: a larger file is more likely an attack than a photo

Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow warns above it, and refuses above twice as many

# The formats that Pillow may try, whatever the file's name. For EPS it would run a program.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")

# Tags of TIFF: a raw file's first image is a reduced one, and the others hang below it.
SUBFILE_TYPE, REDUCED, SUB_IFDS, DNG_VERSION = 254, 1, 330, 50706

Found = TypeVar("Found")
Warn = Callable[[str], object]
nobody: Warn = lambda _: None  # noqa: E731


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn the errors of a decoder, of a dozen types, into a ReclipError that names `path`."""
    try:
        yield
    except ReclipError:
        raise
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
    """Open an image file.

    Raises ReclipError: as `reading`; its path is not UTF-8, so no index or table can hold it; it is
    no regular file (opening a pipe would wait for ever); or only the preview in a camera's raw file
    could be read.
    """
    with reading(path):
        if not is_utf8(path):
            raise ReclipError(f"'{path}' has a path that is not UTF-8 text: rename it or remove it")
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError("it is no file")
        with Image.open(path, formats=FORMATS) as image:
            if image.format == "TIFF" and (is_raw_name(path) or _is_raw(image.tag_v2)):
                raise ReclipError(
                    f"'{path}' is a camera's raw file, of which only a preview could be read: "
                    f"develop it to a JPEG, or remove it"
                )
            yield image


def _is_raw(tags: Mapping[int, Any]) -> bool:
    """Return whether the first image of a TIFF is a raw file's preview, by its tags."""
    return DNG_VERSION in tags or (bool(tags.get(SUBFILE_TYPE, 0) & REDUCED) and SUB_IFDS in tags)


def read_image(path: str | Path, warn: Warn = nobody, side: int | None = None) -> np.ndarray:
    """Return RGB uint8 (H, W, 3), upright by its EXIF orientation; any mode, as `upright_pixels`.

    warn: is called with a sentence if the photo can be read but probably not as it is meant.
    side: pixels that suffice on each side. A larger JPEG is decoded at a part of its size, sooner.
    Raises ReclipError: as `opened`, or the pixels are damaged. Damaged metadata is no reason.
    """
    pixels, doubts = _use(path, partial(_first_picture, side=side))
    for doubt in doubts:
        warn(f"'{path}' {doubt}")
    return pixels


def _first_picture(image: Image.Image, side: int | None) -> tuple[np.ndarray, list[str]]:
    more = _more_pictures(image)
    if side is not None:
        image.draft(image.mode, (side, side))
    pixels, doubts = upright_pixels(image)
    return pixels, more + doubts


def _more_pictures(image: Image.Image) -> list[str]:
    """Return a sentence if the file holds more pictures than the first.

    A TIFF's smaller pages do not count: cameras add a thumbnail. Nor does a phone's JPEG, whose
    second picture is a map of depth or light.
    """
    count = 1
    if image.format in ("GIF", "PNG", "TIFF", "WEBP"):
        with suppress(Exception):  # a file that is damaged after its first picture
            count = getattr(image, "n_frames", 1)
            if image.format == "TIFF" and count > 1:
                first = image.size
                image.seek(1)
                count = count if image.size == first else 1
        image.seek(0)
    if count == 1:
        return []
    return [f"holds {count} pictures, and only the first is read: save the others as files"]


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (H, W) as of :func:`read_image`, for most formats from the header alone."""
    return _use(path, upright_size)


def _use(path: str | Path, function: Callable[[Image.Image], Found]) -> Found:
    """Return `function` of the open image file, without its metadata if need be."""
    try:
        with opened(path) as image:
            return function(image)
    except ReclipError:
        with reading(path):
            content = pixel_chunks(path) if is_utf8(path) and os.path.isfile(path) else None
        if content is None:
            raise
        with reading(path), Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            return function(image)


def read_label(path: str | Path, colours: LabelColours | None = None) -> np.ndarray:
    """Return the stored class numbers, uint8 (H, W), of a palette or grey PNG.

    colours: the colours of the other maps, if these should be compared.
    Raises ReclipError: as `opened`, the file holds no numbers, or one of them has another colour.
    """
    with opened(path) as image:
        load(image)
        mode, format, ids = image.mode, image.format, np.array(image, np.uint8)
        stored = image.getpalette("RGB") if mode == "P" else None
    fix = "write one class number a pixel, the same in every map, as a grey or palette PNG"
    if mode not in ("P", "L", "1"):
        raise ReclipError(f"label '{path}' has mode {mode}, not one class number a pixel: {fix}")
    if format == "JPEG":
        raise ReclipError(f"label '{path}' is a JPEG, which alters numbers: {fix}")
    if colours and stored and (conflict := colours.conflict(path, ids, stored)):
        raise ReclipError(f"{conflict}, so the numbers are not those of classes: {fix}")
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
