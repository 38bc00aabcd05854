"""The file gallery.html: what it holds, whatever became of the photos and the masks."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reclip.common.files import file_sha256
from reclip.data.images import palette, write_image, write_label
from reclip.inference.gallery import (
    CHANGED,
    MISSING,
    NO_MASK,
    Shown,
    gallery_of_records,
    picture_side,
    write_gallery,
)
from reclip.inference.records import Record
from support.gallery_content import Pictures, gallery_content
from support.odd_photos import ORIENTATION, PHOTOS, rotated

CLASSES = ["cat", "dog", "sky"]
COLOURS = [palette(3)[3 * k : 3 * k + 3] for k in range(3)]
IDS = np.repeat(np.uint8([[0] * 4 + [1] * 4, [2] * 8]), [3, 3], axis=0).repeat(5, 1)  # (6, 40)


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """A photo of noise, with a mask that is a quarter cat, a quarter dog and half sky."""
    folder = tmp_path / "files"
    photo = np.random.default_rng(0).integers(0, 256, (*IDS.shape, 3), np.uint8)
    write_image(folder / "photo.png", photo)
    write_label(folder / "mask.png", IDS, 3)
    return Shown("photo", folder / "photo.png", folder / "mask.png", 0.25)


def written(folder: Path, *shown: Shown) -> tuple[dict[str, Any], Pictures]:
    """Write a page; return the facts in it, and the photo and mask of each entry."""
    write_gallery(folder / "gallery.html", shown, CLASSES, COLOURS, title="a title")
    return gallery_content(folder / "gallery.html")


def test_the_page_holds_the_photo_the_mask_and_the_number_of_pixels(tmp_path, shown) -> None:
    facts, [[photo, mask]] = written(tmp_path, shown)
    assert facts["classes"][1] == {"name": "dog", "colour": COLOURS[1]}
    assert facts["photos"] == [
        {"name": "photo", "pixels": {"0": 60, "1": 60, "2": 120}, "total": 240,
         "width": 40, "height": 6, "entropy": 0.25}
    ]  # fmt: skip
    assert (photo.format, mask.format) == ("JPEG", "PNG")
    assert (np.array(mask.convert("RGB")) == np.uint8(COLOURS)[IDS]).all()


def test_equal_photos_give_equal_bytes_wherever_they_are(tmp_path, shown) -> None:
    written(tmp_path / "one", shown)
    other = tmp_path / "moved"
    os.rename(shown.photo.parent, other)
    written(tmp_path / "two", Shown("photo", other / "photo.png", other / "mask.png", 0.25))
    first, second = ((tmp_path / n / "gallery.html").read_bytes() for n in ("one", "two"))
    assert first == second and os.fsencode(tmp_path) not in first


def test_the_page_names_no_other_file_and_no_server(tmp_path, shown) -> None:
    written(tmp_path, shown)
    text = (tmp_path / "gallery.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|//\w+\.|<link|@import|\ssrc=|url\(", text)


@pytest.mark.parametrize("kind", PHOTOS)
def test_any_photo_is_shown_upright_with_its_colours(kind: str, tmp_path, shown) -> None:
    write, pixels = PHOTOS[kind]
    write(shown.photo)
    _, [[photo, mask]] = written(tmp_path, shown)
    assert photo.mode == "RGB" and photo.size == pixels.shape[1::-1] == mask.size
    assert abs(np.array(photo).mean((0, 1)) - pixels.mean((0, 1))).max() < 8


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_large_jpeg_is_decoded_small_and_upright(mode: str, tmp_path, shown) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # shown rotated clockwise: the left of the file is the top of the photo
    dark_left = np.repeat(np.repeat(np.uint8([[20, 220]]), 1500, axis=1), 2000, axis=0)
    photo = shown.photo.with_suffix(".jpg")
    Image.fromarray(dark_left).convert("RGB").convert(mode).save(photo, exif=exif)
    _, [[small, _]] = written(tmp_path, replace(shown, photo=photo))
    assert small.size == (683, 1024)
    grey = np.array(small.convert("L"))
    assert abs(grey[:500] - 20.0).max() < 8 and abs(grey[524:] - 220.0).max() < 8


def test_pictures_are_made_smaller_the_more_there_are(tmp_path, shown) -> None:
    assert [picture_side(n) for n in (0, 1, 95, 240, 1000, 5000)] == [
        1024,
        1024,
        1024,
        645,
        316,
        240,
    ]
    Image.new("RGB", (3000, 2000), "teal").save(shown.photo.with_suffix(".jpg"))
    big = Shown("big", shown.photo.with_suffix(".jpg"), shown.mask)
    _, [[photo, mask]] = written(tmp_path, big)
    assert photo.size == mask.size == (1024, 683)
    assert len(photo.getexif()) == 0


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


LOST = {
    "removed": lambda path: path.unlink(),
    "damaged": lambda path: path.write_bytes(path.read_bytes()[:60]),
    "empty": lambda path: path.write_bytes(b""),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": pipe,
}


@pytest.mark.parametrize("how", LOST)
def test_a_photo_that_is_lost_leaves_its_mask(how: str, tmp_path, shown) -> None:
    LOST[how](shown.photo)
    facts, [[photo, mask]] = written(tmp_path, shown)
    assert photo is None and mask.size == (40, 6)
    assert facts["photos"][0]["note"] == MISSING and facts["photos"][0]["total"] == 240


@pytest.mark.parametrize("how", LOST)
def test_a_mask_that_is_lost_leaves_its_photo(how: str, tmp_path, shown) -> None:
    LOST[how](shown.mask)
    facts, [[photo, mask]] = written(tmp_path, shown)
    assert mask is None and photo.size == (40, 6)
    assert facts["photos"][0]["note"] == NO_MASK and "total" not in facts["photos"][0]


def test_a_mask_is_not_laid_on_another_photo_of_the_same_name(tmp_path, shown) -> None:
    known = Shown(shown.name, shown.photo, shown.mask, None, file_sha256(shown.photo))
    facts, [[photo, _]] = written(tmp_path, known)
    assert photo and "note" not in facts["photos"][0]
    rotated(shown.photo)
    facts, [[photo, mask]] = written(tmp_path, known)
    assert photo is None and mask and facts["photos"][0]["note"] == CHANGED


def test_pixels_of_no_class_are_clear_and_count_for_no_class(tmp_path, shown) -> None:
    write_label(shown.mask, np.where(IDS == 1, 255, IDS), 3)
    facts, [[_, mask]] = written(tmp_path, shown)
    assert facts["photos"][0]["pixels"] == {"0": 60, "2": 120}
    assert facts["photos"][0]["total"] == 240
    assert ((np.array(mask.convert("RGBA"))[..., 3] == 0) == (IDS == 1)).all()


NAME = "\"><img src=x>'&amp;</script><!--\u2028\U0001f600 $1 {{ 7 * 7 }}\n\udcff"


def test_names_are_data_whatever_is_in_them(tmp_path, shown) -> None:
    odd = Shown(NAME, shown.photo, shown.mask, larger="overlays/a b#\udcff.jpg")
    write_gallery(
        tmp_path / "gallery.html", [odd], [NAME, "dog", "sky"], COLOURS, title="</title><b>" + NAME
    )
    facts, _ = gallery_content(tmp_path / "gallery.html")
    readable = NAME.replace("\udcff", "\ufffd")
    assert facts["photos"][0]["name"] == facts["classes"][0]["name"] == readable
    assert facts["photos"][0]["larger"] == "overlays/a%20b%23%FF.jpg"
    text = (tmp_path / "gallery.html").read_text(encoding="utf-8")
    assert "<img src" not in text and "<b>" not in text


def record(out: Path, shown: Shown) -> Record:
    write_label(out / "masks/photo.png", IDS, 3)
    return Record(
        photo=str(shown.photo), photo_sha256=file_sha256(shown.photo), name="photo",
        plain_name="photo",
        height=6, width=40, mask="masks/photo.png", mask_sha256="", overlay="overlays/photo.jpg",
        overlay_sha256="",
        pixels=(60, 60, 120), confidence=0.9, entropy=0.125, probabilities=(0.3, 0.3, 0.4),
    )  # fmt: skip


def test_the_gallery_of_records_shows_each_of_them(tmp_path, shown) -> None:
    out = tmp_path / "found"
    gallery_of_records(out, [record(out, shown)], CLASSES, COLOURS)
    page = out / "gallery.html"
    facts, [[photo, mask]] = gallery_content(page)
    assert photo and mask
    assert facts["photos"][0]["entropy"] == 0.125
    assert facts["photos"][0]["larger"] == "overlays/photo.jpg"
    assert "<title>found: masks of 1 photo</title>" in page.read_text(encoding="utf-8")
