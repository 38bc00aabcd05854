"""Photos of every odd kind are read alike, or refused in one sentence."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.data.images import (
    IGNORED,
    image_size,
    palette,
    read_image,
    read_label,
    write_image,
    write_label,
)
from support.odd_photos import odd_name

ORIENTATION = 0x0112


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def gradient(height: int = 4, width: int = 6) -> np.ndarray:
    return np.arange(height * width, dtype=np.uint8).reshape(height, width) * 10


def same(path: Path, expected: np.ndarray, tolerance: int = 0) -> None:
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= tolerance
    assert image_size(path) == expected.shape[:2]


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def test_greyscale(tmp_path: Path) -> None:
    same(save(tmp_path / "a.png", Image.fromarray(gradient())), rgb(gradient()))


def test_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient() > 100))
    same(path, rgb(np.where(gradient() > 100, 255, 0)))


def test_palette(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([255, 0, 0, 0, 255, 0, 1, 2, 3])
    same(save(tmp_path / "a.png", image), np.array([[[255, 0, 0], [0, 255, 0], [1, 2, 3]]]))


def test_cmyk(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    same(save(tmp_path / "a.jpg", image), np.tile([255, 0, 0], (8, 8, 1)), tolerance=8)


def test_16_bit_keeps_its_brightness(tmp_path: Path) -> None:
    """White is 65535: a dark photo stays dark."""
    grey = np.array([[0, 257, 2570, 25700]], np.uint16)
    same(save(tmp_path / "a.png", Image.fromarray(grey)), rgb(np.array([[0, 1, 10, 100]])))
    same(save(tmp_path / "a.tif", Image.fromarray(grey)), rgb(np.array([[0, 1, 10, 100]])))


def test_32_bit_is_scaled_to_its_brightest_pixel(tmp_path: Path) -> None:
    grey = np.array([[-50.0, 0.0, 500.0, 1000.0]], np.float32)
    same(save(tmp_path / "a.tif", Image.fromarray(grey)), rgb(np.array([[0, 0, 128, 255]])))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (100, 100, 100, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    same(save(tmp_path / "a.png", image.convert(mode)), rgb(np.array([[100, 255]])))


def test_a_transparent_colour_lies_on_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient()), transparency=0)
    expected = gradient()
    expected[0, 0] = 255
    same(path, rgb(expected))


def turned(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Return the upright image of a stored one of an EXIF orientation."""
    return {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.T,
        6: stored[::-1].T,
        7: stored[::-1, ::-1].T,
        8: stored[:, ::-1].T,
    }[orientation]


LOSSLESS = {
    "png": {},
    "tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "webp": {"lossless": True},
    "jpg": {"quality": 100},
    "mpo": {"format": "MPO", "quality": 100},
}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_pixels_are_turned_alike_in_every_format(
    tmp_path: Path, orientation: int, kind: str
) -> None:
    """Pillow turns a TIFF itself, and jumbles a grey one that it maps into memory."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    images = [gradient(), rgb(gradient()), gradient() * np.uint16(257)]
    deep = kind.endswith(("png", "tif"))
    for stored in images if deep else images[:2]:
        path = save(tmp_path / f"a.{kind}", Image.fromarray(stored), exif=exif, **LOSSLESS[kind])
        same(path, rgb(turned(gradient(), orientation)), tolerance=0 if deep else 8)


def test_a_turn_that_only_xmp_names_counts_for_both(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    paths = [
        save(tmp_path / "a.jpg", Image.fromarray(gradient()), xmp=xmp, quality=100),
        save(tmp_path / "a.tif", Image.fromarray(gradient()), tiffinfo={700: xmp}),
    ]
    for path in paths:
        same(path, rgb(turned(gradient(), 6)), tolerance=8)


def test_one_pixel(tmp_path: Path) -> None:
    same(save(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3))), np.array([[[1, 2, 3]]]))


def test_a_suffix_does_not_matter(tmp_path: Path) -> None:
    image = Image.fromarray(gradient())
    same(save(tmp_path / "a.jpg", image, format="PNG"), rgb(gradient()))


@pytest.mark.parametrize("read", [read_image, read_label, image_size])
@pytest.mark.parametrize("kind", ["text", "empty", "missing", "folder"])
def test_a_file_that_is_no_image_is_one_sentence(tmp_path: Path, read, kind: str) -> None:
    path = tmp_path / "a.jpg"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("not a photo" if kind == "text" else "")
    words = "no file" if kind == "missing" else "cannot be read as an image"
    with pytest.raises(ReclipError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in caught.value.args[0]


@pytest.mark.parametrize("format", ["jpeg", "png", "gif", "bmp"])
def test_a_truncated_photo_is_one_sentence(tmp_path: Path, format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = save(tmp_path / f"a.{format}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ReclipError, match="cannot be read as an image"):
        read_image(path)


BROKEN = {
    "EXIF as text": (b"tEXt", b"Raw profile type exif\0\nexif\n   9\nzzzz"),
    "EXIF": (b"eXIf", b"garbage"),
    "a text of 5 MB": (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5_000_000))),
    "pixels per metre": (b"pHYs", b"1"),
    "a checksum": (b"tEXt", b"Comment\0text"),
}


@pytest.mark.parametrize("place", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("broken", BROKEN)
def test_broken_metadata_do_not_keep_a_png_from_being_read(
    tmp_path: Path, broken: str, place: bytes
) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient()))
    name, data = BROKEN[broken]
    checksum = zlib.crc32(name + data) ^ (broken == "a checksum")
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)
    content = path.read_bytes()
    at = content.index(place) - 4
    path.write_bytes(content[:at] + chunk + content[at:])
    same(path, rgb(gradient()))


def test_broken_exif_does_not_hide_the_turn_of_a_png_beside_it(tmp_path: Path) -> None:
    """The text is broken, the orientation in its own chunk is whole."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = save(tmp_path / "a.png", Image.fromarray(gradient()), exif=exif)
    content = path.read_bytes()
    broken = b"\0\0\0\1pHYs1" + bytes(4)
    path.write_bytes(content[:-12] + broken + content[-12:])
    same(path, rgb(turned(gradient(), 6)))


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_broken_exif_does_not_keep_other_photos_from_being_read(
    tmp_path: Path, suffix: str
) -> None:
    image = Image.fromarray(gradient())
    path = save(tmp_path / f"a.{suffix}", image, exif=b"Exif\0\0garbage", quality=100)
    same(path, rgb(gradient()), tolerance=8)


def png_of_48_bits(path: Path, grey: np.ndarray) -> Path:
    """Write RGB with 16 bits a channel, which Pillow reads but does not write."""
    height, width = grey.shape
    rows = np.repeat(grey.astype(">u2")[..., None], 3, axis=2).reshape(height, -1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )
    return path


@pytest.mark.parametrize(
    ("bits", "warned"), [(10, True), (12, True), (14, True), (15, False), (16, False)]
)
def test_fewer_bits_in_16_are_read_with_a_warning(tmp_path: Path, bits: int, warned: bool) -> None:
    grey = np.linspace(0, 2**bits - 1, 24).astype(np.uint16).reshape(4, 6)
    paths = [
        save(tmp_path / "a.tif", Image.fromarray(grey)),
        save(tmp_path / "a.png", Image.fromarray(grey)),
        png_of_48_bits(tmp_path / "b.png", grey),
    ]
    for path in paths:
        said: list[str] = []
        assert read_image(path, said.append).shape == (4, 6, 3)
        assert len(said) == warned, (path, said)
        if said:
            assert str(path) in said[0] and "scale them to 16" in said[0]


def test_a_dark_photo_of_8_bits_and_a_black_one_are_no_reason_for_a_warning(tmp_path: Path) -> None:
    said: list[str] = []
    read_image(save(tmp_path / "a.png", Image.new("RGB", (4, 4), (9, 9, 9))), said.append)
    black = Image.fromarray(np.zeros((4, 4), np.uint16))
    read_image(save(tmp_path / "b.png", black), said.append)
    assert said == []


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.tif", "a.webp"])
def test_a_file_of_several_pictures_is_read_with_a_warning(tmp_path: Path, name: str) -> None:
    pages = [Image.fromarray(np.full((8, 8, 3), grey, np.uint8)) for grey in (10, 200)]
    save(path := tmp_path / name, pages[0], save_all=True, append_images=pages[1:], lossless=True)
    said: list[str] = []
    assert read_image(path, said.append).mean() == 10
    assert len(said) == 1 and "holds 2 pictures, and only the first is read" in said[0]


def test_the_thumbnail_in_a_tiff_is_no_second_picture(tmp_path: Path) -> None:
    photo, thumbnail = Image.new("RGB", (8, 8)), Image.new("RGB", (2, 2))
    path = save(tmp_path / "a.tif", photo, save_all=True, append_images=[thumbnail])
    said: list[str] = []
    assert read_image(path, said.append).shape == (8, 8, 3)
    assert said == []


@pytest.mark.parametrize("name", ["a.dng", "a.NEF", "a.tif"])
def test_the_preview_in_a_raw_file_is_not_taken_for_the_photo(tmp_path: Path, name: str) -> None:
    image, tags = Image.fromarray(gradient()), {50706: b"\1\4\0\0"} if name == "a.tif" else {}
    path = save(tmp_path / name, image, format="TIFF", tiffinfo=tags)
    for read in (read_image, image_size):
        with pytest.raises(ReclipError, match="a camera's raw file.*: develop it to a JPEG"):
            read(path)
    same(save(path, image, format="JPEG", quality=100), rgb(gradient()), tolerance=8)


def test_a_path_that_is_not_utf_8_is_one_sentence(tmp_path: Path) -> None:
    path = odd_name(tmp_path / os.fsdecode(b"\xe9.png"))
    exif = Image.Exif()
    Image.fromarray(gradient()).save(path, exif=exif)
    for read in (read_image, image_size, read_label):
        with pytest.raises(ReclipError) as caught:
            read(path)
        said = str(caught.value)
        assert said.encode() and "\\xe9.png' has a path that is not UTF-8" in said


@pytest.mark.parametrize("side", [15_000, 60_000])
def test_a_decompression_bomb_is_refused(tmp_path: Path, side: int) -> None:
    """A header that promises more pixels than any photo has, over and far over the limit."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    )
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    for read in (read_image, image_size):
        with pytest.raises(ReclipError, match="more than 200,000,000 pixels"):
            read(path)


def test_images_survive_being_written(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_image(tmp_path / "a.png", image)
    same(tmp_path / "a.png", image)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_labels_survive_being_written(tmp_path: Path, dtype) -> None:
    label = np.array([[0, 19, IGNORED], [1, 2, 3]], dtype)
    write_label(tmp_path / "a.png", label, 20)
    assert (read_label(tmp_path / "a.png") == label).all()
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((2, 0)) == (255, 255, 255)


def test_the_same_label_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_label(tmp_path / name, gradient(), 200)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_labels_are_read_as_stored(tmp_path: Path, mode: str) -> None:
    label = np.array([[0, 1], [1, 0]], np.uint8)
    image = Image.fromarray(label if mode == "L" else label.astype(bool))
    assert (read_label(save(tmp_path / "a.png", image)) == label).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_a_label_of_colours_is_refused(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "a.png", Image.new(mode, (2, 2)))
    with pytest.raises(
        ReclipError, match=f"has mode {mode}, not one class number a pixel: .*the same in every map"
    ):
        read_label(path)


@pytest.mark.parametrize("count", [20, 59, 150])
def test_each_class_has_its_own_colour(count: int) -> None:
    flat = palette(count)
    assert len(flat) == 768
    colours = [tuple(flat[3 * k : 3 * k + 3]) for k in range(count)]
    assert len(set(colours)) == count and (255, 255, 255) not in colours


def test_a_telephone_s_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 99)
    with pytest.raises(
        ReclipError, match="it is none of JPEG, PNG.*: make a JPEG of it, replace it"
    ):
        read_image(tmp_path / "a.heic")
