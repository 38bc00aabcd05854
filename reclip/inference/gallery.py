"""Write one page that shows every photo with its mask, `gallery.html`.

The page needs no network and no other file: it holds the pictures, and `gallery.css` and
`gallery.js` of this folder. It may be handed on. It holds nothing of the photos but their pixels:
neither their places on the disk, nor what a camera noted about them.
"""

from __future__ import annotations

import io
import json
import math
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.common.files import atomic, file_sha256
from reclip.common.prefetch import prefetch
from reclip.common.templates import fill
from reclip.data.images import read_image, read_label
from reclip.inference.records import Record
from reclip.inference.segmentation import shown_size

GALLERY = "gallery.html"
SMALLEST, LARGEST, TOGETHER = 240, 1024, 10_000  # see `picture_side`
QUALITY = 75  # of the JPEGs
SHOWS = 0.01  # a photo shows a class that has this share of its pixels, as in the summary
THREADS = min(4, os.cpu_count() or 1)

TEMPLATE = Path(__file__).with_suffix(".html.j2")
PICTURES = "<!-- pictures -->"  # the line of the template where they go
OURS = b'<meta name="generator" content="reclip gallery">'

MISSING = "The photo was moved or removed, or it cannot be read."
CHANGED = "The photo has changed since its mask was made."
NO_MASK = "The mask was removed, or it cannot be read."


@dataclass(frozen=True)
class Shown:
    """A photo to show with its mask. Either file may be missing or damaged by now.

    Attributes:
        name: of the photo, on the page.
        photo, mask: their files.
        entropy: of the probabilities, from 0 to 1; None if it is not known.
        photo_sha256: checksum of the photo that the mask belongs to; None trusts the file.
        larger: a larger picture, as a path below the page's folder with "/"; None if there is none.
    """

    name: str
    photo: Path
    mask: Path
    entropy: float | None = None
    photo_sha256: str | None = None
    larger: str | None = None


def picture_side(photos: int) -> int:
    """Return the long side of each picture in pixels: 10,000 / √photos, from 240 to 1024.

    So all pictures together take some 25 MB at most: up to 95 photos have 1024 pixels, 240 photos
    645, 1,000 photos 316. Above 1,700 photos the page grows.
    """
    return min(LARGEST, max(SMALLEST, round(TOGETHER / math.sqrt(max(1, photos)))))


def gallery_of_records(
    out: Path,
    records: Sequence[Record],
    class_names: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> None:
    """Write `gallery.html` of the records in an output folder of `reclip predict`."""
    shown = [
        Shown(
            name=record.name,
            photo=Path(record.photo),
            mask=out / record.mask,
            entropy=record.entropy,
            photo_sha256=record.photo_sha256,
            larger=record.overlay,
        )
        for record in records
    ]
    title = f"{out.resolve().name}: masks of {len(shown):,} photo{'s' * (len(shown) != 1)}"
    write_gallery(out / GALLERY, shown, class_names, palette, title=title)


def is_gallery(page: Path) -> bool:
    """Return whether a file is a page that this module wrote."""
    with open(page, "rb") as stream:
        return OURS in stream.read(1000)


def write_gallery(
    path: Path,
    shown: Sequence[Shown],
    class_names: Sequence[str],
    palette: Sequence[Sequence[int]],
    *,
    title: str,
) -> None:
    """Write the page, atomically. Equal photos, masks and names give equal bytes.

    One photo after the other is read and written, so memory does not grow with their number.

    palette: RGB of each class, 0 to 255.
    Raises ReclipError: the page cannot be written.
    """
    style, script = (path_of.read_text("utf-8") for path_of in _assets())
    page = fill(
        TEMPLATE,
        title=_utf8(title),
        shows=f"{SHOWS:.0%}",
        style=style,
        script=script,
        style_sha256=_csp_hash(style),
        script_sha256=_csp_hash(script),
    )
    head, foot = page.split(PICTURES)
    facts = {
        "classes": [
            {"name": _utf8(name), "colour": list(map(int, colour))}
            for name, colour in zip(class_names, palette, strict=True)
        ],
        "shows": SHOWS,
        "photos": [],
    }
    embed = partial(_embed, colours=[c["colour"] for c in facts["classes"]], count=len(shown))
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(head)
        ready = tqdm(
            prefetch(shown, embed, THREADS),
            desc="gallery", total=len(shown), unit="photo", disable=None,
        )  # fmt: skip
        for number, (_, (known, pictures)) in enumerate(ready):
            stream.write(f'<script type="text/plain" id="pictures-{number}">{pictures}</script>\n')
            facts["photos"].append(known)
        data = json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")
        stream.write(f'<script type="application/json" id="facts">{data}</script>\n')
        stream.write(foot)


def _assets() -> tuple[Path, Path]:
    here = Path(__file__)
    return here.with_suffix(".css"), here.with_suffix(".js")


def _csp_hash(text: str) -> str:
    """Return the hash by which a page's Content-Security-Policy allows a text inside it."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _utf8(name: str) -> str:
    """Return a name with a mark for each byte that is no UTF-8, as in some old file names."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _embed(one: Shown, *, colours: list[list[int]], count: int) -> tuple[dict[str, Any], str]:
    """Return what the page knows of a photo, and its picture and mask: JPEG and PNG in base64."""
    side = picture_side(count)
    photo, notes = _read_photo(one, side)
    known: dict[str, Any] = {"name": _utf8(one.name)}
    mask = None
    try:
        ids = Image.fromarray(read_label(one.mask))
    except ReclipError:
        notes = [*notes, NO_MASK]
    else:
        counts = ids.histogram()  # 256 of them
        known["pixels"] = {k: counts[k] for k in range(len(colours)) if counts[k]}
        known["total"] = ids.width * ids.height
        size = photo.size if photo else shown_size(*ids.size, side)
        mask = _coloured(ids.resize(size, Image.Resampling.NEAREST), colours)
    if photo or mask:
        known["width"], known["height"] = (photo or mask).size
    if one.entropy is not None:
        known["entropy"] = round(one.entropy, 6)
    if one.larger:
        known["larger"] = quote(os.fsencode(one.larger))
    if notes:
        known["note"] = " ".join(notes)
    pictures = (
        _encoded(photo, "JPEG", quality=QUALITY, optimize=True),
        _encoded(mask, "PNG", optimize=True, transparency=bytes([255] * len(colours) + [0])),
    )
    return known, " ".join(pictures)


def _read_photo(one: Shown, side: int) -> tuple[Image.Image | None, list[str]]:
    """Return a photo, upright and small, or None and the reason."""
    try:
        if not one.photo.is_file():  # reading a pipe would wait for ever
            return None, [MISSING]
        if one.photo_sha256 not in (None, file_sha256(one.photo)):
            return None, [CHANGED]
        photo = Image.fromarray(read_image(one.photo, side=side))
    except (OSError, ReclipError):
        return None, [MISSING]
    return photo.resize(shown_size(*photo.size, side), Image.Resampling.LANCZOS, reducing_gap=2), []


def _coloured(ids: Image.Image, colours: list[list[int]]) -> Image.Image:
    """Return a mask as a palette image. A number that is no class becomes the last, clear one."""
    last = len(colours)
    image = ids.point([min(k, last) for k in range(256)])
    image.putpalette([value for colour in colours for value in colour] + [255, 255, 255])
    return image


def _encoded(image: Image.Image | None, format: str, **options: Any) -> str:
    """Return an image file in base64; "-" for no image."""
    if image is None:
        return "-"
    content = io.BytesIO()
    image.save(content, format, **options)
    return b64encode(content.getvalue()).decode()
