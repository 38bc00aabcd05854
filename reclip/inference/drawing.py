"""A legend below a picture."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Entry = tuple[tuple[int, int, int], str]
INK, PAPER, FRAME = (30, 30, 30), "white", (160, 160, 160)
NO_LETTER = "\U0010ffff"


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, of which matplotlib has a copy: Latin, Greek, Cyrillic and more."""
    package = Path(find_spec("matplotlib").origin).parent
    return ImageFont.truetype(package / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)


def lettering(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """`text` on one line, and a font that has its every letter, such as one of the system's.

    A letter that no font here has is shown by its number rather than as a box like any other.
    """
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    face = font(size)
    if missing := _missing(text, face):
        if found := _system_font(missing):
            return text, ImageFont.truetype(found, size)
        text = "".join(f"\\u{ord(c):04x}" if c in missing else c for c in text)
    return text, face


def _missing(text: str, face: ImageFont.FreeTypeFont) -> str:
    """The letters of `text` that a font draws as it draws what is no letter."""
    none = bytes(face.getmask(NO_LETTER))
    return "".join(
        c for c in sorted(set(text)) if not c.isascii() and bytes(face.getmask(c)) == none
    )


@cache
def _system_font(letters: str) -> str | None:
    """File of a font that has all of them, and Latin letters."""
    from matplotlib.font_manager import findSystemFonts

    for path in sorted(findSystemFonts()):
        with suppress(OSError):  # bitmaps of one size, damaged files
            if not _missing(letters + "é", ImageFont.truetype(path, 12)):
                return path
    return None


def with_legend(picture: Image.Image, entries: list[Entry], size: int | None = None) -> Image.Image:
    """`picture` on white paper, below it a patch of colour and a text for each entry.

    size: of the text in pixels; None: it follows the picture's. A small picture gets wider paper.
    """
    size = size or min(28, max(12, max(picture.size) // 50))
    gap, patch = size // 2, size
    texts = [lettering(text, size) for _, text in entries]
    widths = [patch + gap + round(face.getlength(text)) + 2 * gap for text, face in texts]
    width = max(picture.width, *widths, 240) if entries else picture.width
    places, x, y = [], gap, gap
    for entry in widths:
        if x > gap and x + entry > width:
            x, y = gap, y + size + gap
        places.append((x, y))
        x += entry
    height = y + size + gap
    paper = Image.new("RGB", (width, picture.height + height), PAPER)
    paper.paste(picture, (0, 0))
    draw = ImageDraw.Draw(paper)
    for (x, y), (colour, _), (text, face) in zip(places, entries, texts, strict=True):
        y += picture.height
        draw.rectangle((x, y, x + patch, y + patch), fill=colour, outline=FRAME)
        draw.text((x + patch + gap, y + patch // 2), text, fill=INK, font=face, anchor="lm")
    return paper
