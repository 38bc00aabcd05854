"""Draw legends below pictures, and contact sheets of many pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Entry = tuple[tuple[int, int, int], str]
INK, PAPER, FRAME = (30, 30, 30), "white", (160, 160, 160)
NO_LETTER = "\U0010ffff"
COLUMNS, ROWS = 6, 6
A_PAGE = COLUMNS * ROWS
SIDE, MARGIN, TEXT = 240, 8, 12  # of a contact sheet, in pixels


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic and more."""
    package = Path(find_spec("matplotlib").origin).parent
    return ImageFont.truetype(package / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)


def lettering(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return `text` on one line, and a font that has all of its letters.

    If DejaVu Sans lacks a letter, a font of the system is used. If none has it, the letter becomes
    its code point, such as \\u732b: the same empty box for every letter would say nothing.
    """
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    face = font(size)
    if missing := _missing(text, face):
        if found := _system_font(missing):
            return text, ImageFont.truetype(found, size)
        text = "".join(f"\\u{ord(c):04x}" if c in missing else c for c in text)
    return text, face


def _missing(text: str, face: ImageFont.FreeTypeFont) -> str:
    """Return the letters of `text` that a font draws with its box for unknown letters."""
    letters = [c for c in sorted(set(text)) if not c.isascii()]
    box = bytes(face.getmask(NO_LETTER)) if letters else b""
    return "".join(c for c in letters if bytes(face.getmask(c)) == box)


@cache
def _system_font(letters: str) -> str | None:
    """Return the file of a font that has all `letters`, and Latin letters too."""
    from matplotlib.font_manager import findSystemFonts

    for path in sorted(findSystemFonts()):
        with suppress(OSError):  # bitmap fonts of one size, damaged files
            if not _missing(letters + "é", ImageFont.truetype(path, 12)):
                return path
    return None


def with_legend(picture: Image.Image, entries: list[Entry], size: int | None = None) -> Image.Image:
    """Return `picture` with a legend below it: a patch of colour and a text for each entry.

    size: height of the text in pixels; None: by the size of the picture. The page is wider than
    a small picture.
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
    page = Image.new("RGB", (width, picture.height + y + size + gap), PAPER)
    page.paste(picture, (0, 0))
    draw = ImageDraw.Draw(page)
    for (x, y), (colour, _), (text, face) in zip(places, entries, texts, strict=True):
        y += picture.height
        draw.rectangle((x, y, x + patch, y + patch), fill=colour, outline=FRAME)
        draw.text((x + patch + gap, y + patch // 2), text, fill=INK, font=face, anchor="lm")
    return page


def thumbnail(picture: Image.Image) -> Image.Image:
    """Return `picture` resized to a cell of a contact sheet; small pictures are enlarged."""
    ratio = SIDE / max(picture.size)
    size = tuple(max(1, round(side * ratio)) for side in picture.size)
    return picture.resize(size, Image.Resampling.BOX if ratio < 1 else Image.Resampling.NEAREST)


def contact_sheet(cells: Sequence[tuple[str, Image.Image]], legend: list[Entry]) -> Image.Image:
    """Return one page of up to A_PAGE names and thumbnails, with one legend."""
    columns, rows = min(COLUMNS, len(cells)), -(-len(cells) // COLUMNS)
    across, down = SIDE + MARGIN, SIDE + TEXT + 2 * MARGIN
    sheet = Image.new("RGB", (columns * across + MARGIN, rows * down + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for k, (name, picture) in enumerate(cells):
        x, y = MARGIN + k % COLUMNS * across, MARGIN + k // COLUMNS * down
        sheet.paste(picture, (x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
        text, face = lettering(name, TEXT)
        if face.getlength(text) > SIDE:  # keep the end, which tells photos apart
            while text and face.getlength("…" + text) > SIDE:
                text = text[1:]
            text = "…" + text
        draw.text((x, y + SIDE + 2), text, fill=INK, font=face)
    return with_legend(sheet, legend, TEXT + 2)


def jpeg(picture: Image.Image, comment: bytes = b"") -> bytes:
    """Return a JPEG's content. Writing it at once shows a full disk, which Pillow overlooks."""
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=90, comment=comment)
    return content.getvalue()


def png(picture: Image.Image) -> bytes:
    """Return a PNG's content."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
