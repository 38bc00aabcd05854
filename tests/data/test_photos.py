"""Which files of a folder are photos, their ids, and the digest of them all."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.common.hashing import CACHE
from reclip.data.photos import digest_of_photos, list_photos, photo_id
from support.folder_of_scenes import (
    draw,
    grey,
    left_out,
    prepared,
)
from support.unprivileged import unprivileged

pytestmark = pytest.mark.usefixtures("here")


def test_photos_are_found_however_deep_and_sorted() -> None:
    for name in ("b.JPG", "a/z.jpeg", "a/b/c.tif", "c.webp"):
        grey(Path("photos") / name)
    for name in ("notes.txt", ".hidden.jpg", "._b.jpg", ".thumbs/t.jpg"):
        (Path("photos") / name).parent.mkdir(exist_ok=True)
        (Path("photos") / name).write_bytes(b"no photo")
    found = [path.as_posix() for path in list_photos("photos", "--images")]
    assert found == ["photos/a/b/c.tif", "photos/a/z.jpeg", "photos/b.JPG", "photos/c.webp"]


def test_a_link_to_its_own_folder_is_not_followed_for_ever() -> None:
    grey(Path("photos/a.jpg"))
    Path("photos/self").symlink_to(".", target_is_directory=True)
    assert len(list_photos("photos", "--images")) == 1


def listed() -> list[str]:
    return [path.as_posix() for path in list_photos("photos", "--images")]


def test_whatever_looks_like_an_image_is_listed() -> None:
    """By its name or, without a name that says more, by its content."""
    photo = grey(Path("photos/a.jpg")).read_bytes()
    read = ["b.jfif", "c.JPE", "d.pjpeg", "e.jif", "no suffix", "odd.suffix", "x.jpg~"]
    for name in read:
        Path("photos", name).write_bytes(photo)
    grey(Path("photos/f.dib"), format="BMP")
    grey(Path("photos/g.jpx"), format="JPEG2000")
    left = {
        "raw.dng": b"II*\0" + bytes(99), "raw.CR3": b"", "phone.hif": b"", "new.jxl": b"\xff\x0a",
        "layers.psd": b"8BPS", "drawing.svg": b"<svg/>", "light.exr": b"", "scan.dcm": b"",
        "telephone": b"\0\0\0\x18ftypheic" + bytes(9),
    }  # fmt: skip
    for name, content in left.items():
        Path("photos", name).write_bytes(content)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "notes", "BMW", "P1 list", "a.xmp"):
        Path("photos", name).write_bytes(b"P" + bytes(99))
    Path("photos/film.mp4").write_bytes(photo)
    assert {Path(p).name for p in listed()} == {"a.jpg", *read, "f.dib", "g.jpx", *left}
    assert len(prepared().items("train")) == 3 + len(read)
    assert {Path(p).name for p in left_out()} == {*left}


def test_linked_folders_are_followed_and_no_folder_counts_twice() -> None:
    grey(Path("photos/own/a.jpg"))
    grey(Path("disk/2024/b.jpg"))
    Path("photos/2024").symlink_to("../disk/2024")
    Path("photos/again").symlink_to("2024")
    Path("photos/a link to own").symlink_to("own")
    Path("photos/up").symlink_to("../..")  # circles: around the folder, and around a linked one
    Path("disk/2024/up").symlink_to("..")
    Path("photos/.hidden").symlink_to("../disk")
    assert listed() == ["photos/2024/b.jpg", "photos/own/a.jpg"]
    before = digest_of_photos("photos", "--images")
    grey(Path("disk/2024/b.jpg"), (7, 7))
    assert digest_of_photos("photos", "--images") != before
    assert [item.id for item in prepared().items("train")] == [
        photo_id(Path(path), "photos") for path in listed()
    ]


def test_a_linked_folder_that_is_not_there_is_left_out_not_overlooked() -> None:
    grey(Path("photos/a.jpg"))
    Path("photos/disk").symlink_to("/nowhere/disk")
    prepared()
    assert left_out() == ["photos/disk"]


def test_a_link_to_the_results_is_refused() -> None:
    grey(Path("photos/a.jpg"))
    Path("results").mkdir()
    Path("photos/masks").symlink_to("../results")
    with pytest.raises(ReclipError, match="'photos/masks' also holds the results"):
        list_photos("photos", "--images")


def test_ids_are_unique_and_name_files() -> None:
    names = [
        "sub/a.jpg", "sub_a.jpg", "sub a.jpg", "sub-a.jpg", "sub/a.png", "su/b_a.jpg", "ä.jpg",
        "..jpg.jpg", "x" * 200 + ".jpg", "x" * 201 + ".jpg", "a\nb.jpg", "写真/一.jpg", "-rf.jpg",
    ]  # fmt: skip
    ids = [photo_id(Path("photos") / name, "photos") for name in names]
    assert len({id.lower() for id in ids}) == len(ids)
    for id in ids:
        assert id == Path(id).name and len(id) <= 100 and id.isascii() and not id.startswith(".")
        Path(f"{id}.png").write_bytes(b"")
    assert photo_id(Path("photos/IMG_1.jpg"), "photos") == "IMG_1.jpg"  # found again by its name


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nowhere", "there is no folder 'nowhere'"),
        ("file.jpg", "'file.jpg' is a file"),
        (".", "'.' also holds the results"),
        ("..", "'..' also holds the results"),
    ],
)
def test_a_folder_that_cannot_be_used(folder: str, words: str) -> None:
    grey(Path("file.jpg"))
    with pytest.raises(ReclipError, match=r"^--images: .*: (name|move) ") as caught:
        list_photos(folder, "--images")
    assert words in str(caught.value)


def test_a_pipe_is_left_out_without_waiting() -> None:
    grey(Path("photos/a.jpg"))
    os.mkfifo("photos/pipe.jpg")
    Path("photos/self.jpg").symlink_to("self.jpg")
    assert digest_of_photos("photos", "--images").startswith("3 files, ")
    assert len(prepared().items("train")) == 1
    assert left_out() == ["photos/pipe.jpg", "photos/self.jpg"]


def test_an_unreadable_folder_is_refused() -> None:
    grey(Path("photos/private/a.jpg"))
    Path("photos/private").chmod(0)
    try:
        with pytest.raises(ReclipError, match="photos/private' cannot be read .Permission denied"):
            unprivileged(lambda: list_photos("photos", "--images"))
    finally:
        Path("photos/private").chmod(0o700)


def test_photos_beyond_the_limit_are_not_read() -> None:
    photos = draw(Path("photos"), 3)
    first = digest_of_photos("photos", "--images", 2)
    assert photos[2] == Path("photos/more/2.png")  # the last
    photos[2].write_bytes(b"another")
    assert digest_of_photos("photos", "--images", 2) == first
    assert "more/2.png" not in CACHE.read_text()
    photos[0].write_bytes(b"another")
    assert digest_of_photos("photos", "--images", 2) != first


def test_many_photos_are_listed_fast() -> None:
    """10,000 photos take 0.2 s on an idle core; the bound is for a busy one."""
    for i in range(2000):
        path = Path(f"photos/{i % 20}/{i}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % i)
    first = digest_of_photos("photos", "--images")
    began = time.process_time()
    assert digest_of_photos("photos", "--images") == first
    assert time.process_time() - began < 1
