"""Many overlays at a glance: pages of small pictures with their names and one legend."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from reclip.inference.drawing import INK, PAPER, Entry, lettering, with_legend

COLUMNS, ROWS = 6, 6
SIDE, MARGIN, TEXT = 240, 8, 12  # pixels
A_PAGE = COLUMNS * ROWS


def thumbnail(picture: Image.Image) -> Image.Image:
    """Reduced to a cell; small pictures are enlarged, pixel by pixel."""
    ratio = SIDE / max(picture.size)
    size = tuple(max(1, round(side * ratio)) for side in picture.size)
    return picture.resize(size, Image.Resampling.BOX if ratio < 1 else Image.Resampling.NEAREST)


def page(cells: Sequence[tuple[str, Image.Image]], legend: list[Entry]) -> Image.Image:
    """One page of up to A_PAGE names and thumbnails."""
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // COLUMNS)
    across, down = SIDE + MARGIN, SIDE + TEXT + 2 * MARGIN
    sheet = Image.new("RGB", (columns * across + MARGIN, rows * down + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for k, (name, picture) in enumerate(cells):
        x, y = MARGIN + k % COLUMNS * across, MARGIN + k // COLUMNS * down
        sheet.paste(picture, (x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
        text, face = lettering(name, TEXT)
        draw.text((x, y + SIDE + 2), _fitting(text, face), fill=INK, font=face)
    return with_legend(sheet, legend, TEXT + 2)


def _fitting(name: str, face) -> str:
    """The end of a name that is too long for its cell: what tells photos apart."""
    if face.getlength(name) <= SIDE:
        return name
    while name and face.getlength("…" + name) > SIDE:
        name = name[1:]
    return "…" + name
