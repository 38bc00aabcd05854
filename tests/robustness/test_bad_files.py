"""Bad photos, labels and lists: one sentence that names the file, and no result is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reclip.data.layouts.class_names import ADE_CLASSES
from support.at_the_shell import TO_METRICS, Project, copy_of, small
from support.make_archives import cut
from support.tiny_ade import make_ade, write_names
from support.tiny_context import make_png_59, make_voc2010, voc_first
from support.tiny_voc import VAL, make_voc, write_mask

ROOT = Path("VOCdevkit/VOC2012")
PHOTO, MASK = ROOT / f"JPEGImages/{VAL[0]}.jpg", ROOT / f"SegmentationClass/{VAL[0]}.png"
LIST = ROOT / "ImageSets/Segmentation/val.txt"
FOLDER = {"kind": "voc", "folder": "VOCdevkit"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project whose results are whole, up to the metrics."""
    folder = tmp_path_factory.mktemp("made")
    with chdir(folder):
        make_voc(folder)
        Project(small(FOLDER)).succeed(*TO_METRICS)
    return folder


@pytest.fixture
def good(made: Path, tmp_path: Path) -> Iterator[Project]:
    with copy_of(made, tmp_path / "project", FOLDER) as project:
        yield project


# ---------------------------------------------------------------- photos, labels, lists


def cut_photo(path: Path) -> None:
    """Its header is whole, and says its size."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(noise).save(path, "JPEG", quality=100)
    cut(path, -60)


def as_jpeg(path: Path) -> None:
    Image.open(path).convert("L").save(path, "JPEG")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


# what -> (file, what is done to it, the stage that notices, words)
BAD_FILES: dict[str, tuple[Path, Callable[[Path], Any], str, str]] = {
    "photo cut short": (PHOTO, cut_photo, "cache-features", "truncated"),
    "photo of garbage": (PHOTO, lambda p: p.write_bytes(b"x" * 999), "prepare", "replace it or"),
    "photo is empty": (PHOTO, lambda p: p.write_bytes(b""), "prepare", "replace it or remove"),
    "photo is a program": (PHOTO, lambda p: p.write_text("%!PS-Adobe-3.0 EPSF-3.0\n"
        "%%BoundingBox: 0 0 6 4\n%%EndComments\n"), "prepare", "cannot be read as an image"),
    "photo is gone": (PHOTO, Path.unlink, "prepare", "val.txt' lists"),
    "photo leads in a circle": (PHOTO, loop, "prepare", "there is no"),
    "photo of another size": (PHOTO, lambda p: Image.new("RGB", (4, 6)).save(p), "prepare",
        "is 6×4, the photo, upright by its EXIF data, 4×6: restore the pair"),
    "label is gone": (MASK, Path.unlink, "prepare", "restore it or take the photo off the list"),
    "label of another size": (MASK, lambda p: write_mask(ROOT, p.stem, np.ones((9, 9), np.uint8)),
        "prepare", "restore the pair"),
    "label out of range": (MASK, lambda p: write_mask(ROOT, p.stem, np.full((4, 6), 21, np.uint8)),
        "prepare", "holds id 21, it should have 0..20 and 255"),
    "label of colours": (MASK, lambda p: Image.new("RGB", (6, 4)).save(p), "prepare",
        "has mode RGB, not one class number a pixel: write one"),
    "label is a JPEG": (MASK, as_jpeg, "prepare", "alters numbers: write one class number a pixel"),
    "list names no photo": (LIST, lambda p: p.write_text("\n \n"), "prepare", "lists no photo"),
    "list names a missing photo": (LIST, lambda p: p.write_text("2009_000001\n"), "prepare",
        "lists '2009_000001' but there is no 'VOCdevkit/VOC2012/JPEGImages/2009_000001.jpg'"),
    "list is a program's": (LIST, lambda p: p.write_bytes(b"a\0b\n"), "prepare",
        r"lists 'a\x00b', not the id of a photo"),
    "list is one long line": (LIST, lambda p: p.write_text("x" * 5000), "prepare", "not the id"),
    "list is gone": (LIST, Path.unlink, "prepare", "restore this list of photos"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_bad_file(good: Project, bad: str) -> None:
    before = good.files()
    path, spoil, stage, words = BAD_FILES[bad]
    content = path.read_bytes()
    spoil(path)
    if stage == "cache-features":
        good.succeed("prepare")
    good.refuse(stage, words, VAL[0] if path in (PHOTO, MASK) else str(LIST))
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    good.mended(before, stage)


# ---------------------------------------------------------------- the order of the classes


def test_maps_of_context_in_another_order(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_voc2010(tmp_path)
    make_png_59(Path("maps"))
    project = Project(small({"kind": "context", "folder": "VOCdevkit", "labels": "maps"}))
    project.succeed("fetch", "prepare")
    before = project.files()
    shutil.move("maps", "right")
    make_png_59(Path("maps"), order=voc_first())
    project.refuse("prepare", "'maps/2008_000001.png', number their classes in another order")
    shutil.rmtree("maps")
    shutil.move("right", "maps")
    project.mended(before, "prepare")


def test_names_of_ade_in_another_order(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_ade(Path("."))
    project = Project(small({"kind": "ade", "folder": "ADEChallengeData2016"}))
    project.succeed("fetch", "prepare")
    before = project.files()
    names = [name for (name,) in ADE_CLASSES]
    write_names(root, sorted(names))
    project.refuse("prepare", "objectInfo150.txt' does not name class 1 'wall'", "get the official")
    write_names(root, names)
    project.mended(before, "prepare")
