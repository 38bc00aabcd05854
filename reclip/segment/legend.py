"""A legend below a picture."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Entry = tuple[tuple[int, int, int], str]
INK, PAPER, FRAME = (30, 30, 30), "white", (160, 160, 160)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, of which matplotlib has a copy: Latin, Greek, Cyrillic and more."""
    package = Path(find_spec("matplotlib").origin).parent
    return ImageFont.truetype(package / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)


def with_legend(picture: Image.Image, entries: list[Entry], size: int | None = None) -> Image.Image:
    """`picture` on white paper, below it a patch of colour and a text for each entry.

    size: of the text in pixels; None: it follows the picture's. A small picture gets wider paper.
    """
    size = size or min(28, max(12, max(picture.size) // 50))
    face = font(size)
    gap, patch = size // 2, size
    widths = [patch + gap + round(face.getlength(text)) + 2 * gap for _, text in entries]
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
    for (x, y), (colour, text) in zip(places, entries, strict=True):
        y += picture.height
        draw.rectangle((x, y, x + patch, y + patch), fill=colour, outline=FRAME)
        draw.text((x + patch + gap, y + patch // 2), text, fill=INK, font=face, anchor="lm")
    return paper
