"""The size and the pixels of an open image as it is shown: upright, in RGB with 8 bits."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from PIL import Image

WIDTH, HEIGHT, ORIENTATION = 256, 257, 274  # tags of TIFF and EXIF

# How an image of each EXIF orientation is turned upright, as by `ImageOps.exif_transpose`.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)

DARK = 64  # our choice, a quarter of white: all values of 14 bits or fewer in 16


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (H, W) of the pixels that `upright_pixels` returns.

    Most formats need only the header. A PNG is decoded, because its orientation may lie behind its
    pixels.
    """
    if image.format == "PNG":
        image.load()
    width, height = image.size
    if image.format == "TIFF":  # some releases of Pillow have turned the size already
        width, height = image.tag_v2[WIDTH], image.tag_v2[HEIGHT]
    return (width, height) if _orientation(image) in SIDEWAYS else (height, width)


def upright_pixels(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """Return RGB uint8 (H, W, 3) of an image of any mode, and what is doubtful, in words.

    Transparent pixels lie on white. White is 65535 in a 16-bit image. A 32-bit image has no white
    of its own, so its brightest pixel is white.
    """
    raw = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    has_16_bits = ";16" in raw or image.mode.startswith("I;16")
    white = 2**12 - 1 if "I;12" in raw else 2**16 - 1
    load(image)
    turn = TURNS.get(_orientation(image))
    if turn is not None:  # a flip is number 0
        image = image.transpose(turn)
    pixels = _rgb(image, white)
    brightest = int(pixels.max())
    if not has_16_bits or not 0 < brightest <= DARK:
        return pixels, []
    return pixels, [
        f"has 16 bits, but its brightest pixel has {brightest / 255:.0%} of white, so it is read "
        f"dark: if only 10, 12 or 14 bits are used, scale them to 16 and save it again"
    ]


def load(image: Image.Image) -> None:
    """Decode an open image.

    Pillow would map an uncompressed file into memory if it knew its name, and then jumble the
    pixels of a TIFF that lies sideways (seen in release 13).
    """
    if image.format != "TIFF":
        image.load()
        return
    name, image.filename = image.filename, ""
    try:
        image.load()
    finally:
        image.filename = name


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 for an image whose metadata is damaged.

    Pillow turns a TIFF while it loads it, and then forgets the orientation.
    """
    with suppress(Exception):  # a dozen types
        return image.getexif().get(ORIENTATION, 1)
    return 1


def _rgb(image: Image.Image, white: int) -> np.ndarray:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) * 255 + white // 2) // white  # rounded
        image = Image.fromarray(grey.clip(max=255).astype(np.uint8))
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
