"""Make the overviews of an output folder from its records: areas.csv and the contact sheets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.common.tables import write_table
from reclip.data.images import opened, read_image
from reclip.inference.drawing import A_PAGE, PAPER, contact_sheet, jpeg, thumbnail
from reclip.inference.model_info import ModelInfo
from reclip.inference.records import Record
from reclip.inference.segmentation import OVERLAY_SIDE, by_size, shown_size

AREAS = "areas.csv"
SHEET = re.compile(r"contact-sheet-[1-9][0-9]*\.jpg")
OURS = b"A contact sheet of reclip predict"  # comment in each JPEG, by which it is known


def write_areas(out: Path, records: Sequence[Record], class_names: Sequence[str]) -> None:
    """Write areas.csv, a row for each record.

    The columns of classes have a prefix, because a class may be named `photo`.
    """
    columns = (
        *("photo", "sha256", "mask", "height", "width", "confidence", "entropy"),
        *(f"share: {name}" for name in class_names),
        *(f"probability: {name}" for name in class_names),
    )
    rows = []
    for record in records:
        shares = np.array(record.pixels) / sum(record.pixels)
        means = (record.confidence, record.entropy, *shares, *record.probabilities)
        size = record.height, record.width
        numbers = (f"{mean:.6f}" for mean in means)
        rows.append((record.photo, record.photo_sha256, record.mask, *size, *numbers))
    write_table(out / AREAS, columns, rows)


def contact_sheets(
    out: Path, records: Sequence[Record], info: ModelInfo
) -> Iterator[tuple[str, bytes]]:
    """Return the name and content of each page of thumbnails of the records' overlays."""
    for number, start in enumerate(range(0, len(records), A_PAGE), start=1):
        page = records[start : start + A_PAGE]
        cells = [(record.name, _thumbnail(out, record)) for record in page]
        classes = by_size(np.sum([record.pixels for record in page], axis=0))
        legend = [(info.palette[k], info.class_names[k]) for k in classes]
        yield f"contact-sheet-{number}.jpg", jpeg(contact_sheet(cells, legend), comment=OURS)


def own_contact_sheets(out: Path) -> dict[str, str]:
    """Return the name and checksum of each contact sheet in the folder that this program made."""
    found = {}
    for path in sorted(out.iterdir()):
        if SHEET.fullmatch(path.name):
            try:
                with opened(path) as image:
                    ours = image.info.get("comment") == OURS
            except ReclipError:  # no picture
                continue
            if ours:
                found[path.name] = file_sha256(path)
    return found


def _thumbnail(out: Path, record: Record) -> Image.Image:
    """Return a small overlay; a blank one if the overlay was removed since."""
    width, height = shown_size(record.width, record.height, OVERLAY_SIDE)
    try:
        overlay = Image.fromarray(read_image(out / record.overlay))
    except ReclipError:
        overlay = Image.new("RGB", (width, height), PAPER)
    return thumbnail(overlay.crop((0, 0, width, height)))
