"""The label maps of a folder's val photos: what is taken, refused and warned of."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.common.tables import read_table
from reclip.config.load import validate
from reclip.config.sources import FolderSource
from reclip.data.folder import (
    WARNINGS,
    WARNINGS_COLUMNS,
)
from reclip.data.images import read_label, write_label
from support.folder_of_scenes import (
    LABELLED,
    NAMES,
    SIZE,
    grey,
    prepared,
    source,
)

pytestmark = pytest.mark.usefixtures("here")


def test_labels_are_kept_and_the_train_split_has_none(labelled: Path) -> None:
    data = prepared(**LABELLED)
    items = data.items("val")
    assert [item.image.as_posix() for item in items] == ["val/0.png", "val/1.png", "val/more/2.png"]
    for item in items:
        given = labelled / item.image.relative_to("val")
        assert (read_label(item.label) == read_label(given)).all()
    assert [item.label for item in data.items("train")] == [None, None]
    assert (Path("data/train.csv").read_text()).startswith("id,image,height,width\n")


def big(path: Path) -> None:
    write_label(path, np.zeros((9, 9)), len(NAMES))


def unknown(path: Path) -> None:
    label = read_label(path)
    label[0, 0] = len(NAMES)
    write_label(path, label, len(NAMES))


def maps(kind: list[np.ndarray], labelled: Path, save: Callable) -> None:
    """Replace the three label maps; `save` writes numbers (H, W) to a path."""
    for path, ids in zip(sorted(labelled.rglob("*.png")), kind, strict=True):
        save(np.resize(ids, SIZE).astype(np.uint8), path)


def as_grey(ids: np.ndarray, path: Path) -> None:
    Image.fromarray(ids).save(path)


@pytest.mark.parametrize("first", [[0, 255], [0]])
def test_black_and_white_masks_are_refused(labelled: Path, first: list[int]) -> None:
    """255 would be taken for "no class", so that only one class is measured."""
    maps([first, [255, 0], [255]], labelled, as_grey)
    with pytest.raises(ReclipError, match="hold only 0 and 255, like black-and-white masks.* 1 "):
        prepared(**LABELLED)


def test_two_classes_and_no_class_are_not_black_and_white(labelled: Path) -> None:
    maps([[0, 255], [255, 1], [0]], labelled, as_grey)
    assert len(prepared(**LABELLED).items("val")) == 3


def test_each_class_that_no_map_holds_is_warned_of(labelled: Path, caplog) -> None:
    maps([[0, 1], [3, 255], [5]], labelled, as_grey)
    with caplog.at_level(logging.WARNING):
        prepared(**LABELLED)
    absent = [k for k in range(len(NAMES)) if k not in (0, 1, 3, 5)]
    rows = read_table(Path("data") / WARNINGS, WARNINGS_COLUMNS)
    assert [row["about"] for row in rows] == ["labels"] * len(absent)
    for k, row in zip(absent, rows, strict=True):
        assert f"no label map holds class {k} '{NAMES[k]}'" in row["warning"]
        assert row["warning"] in caplog.text


def as_palette(colours: dict[int, int]) -> Callable[[np.ndarray, Path], None]:
    """Return a writer of palette PNGs: colours are grey, by number; the rest is black."""

    def save(ids: np.ndarray, path: Path) -> None:
        image = Image.fromarray(ids).convert("P")
        image.putdata(ids.ravel().tolist())
        image.putpalette([colours.get(k // 3, 0) for k in range(768)])
        image.save(path)

    return save


def test_palettes_that_number_colours_anew_in_each_map_are_refused(labelled: Path) -> None:
    first, second, third = sorted(labelled.rglob("*.png"))
    ids = np.resize([0, 1], SIZE).astype(np.uint8)
    as_palette({0: 10, 1: 20})(ids, first)
    as_palette({0: 10, 1: 30})(ids, second)
    as_palette({0: 10, 1: 20})(ids, third)
    with pytest.raises(
        ReclipError,
        match="number 1 is #141414 in label 'labels/0.png' and #1e1e1e in 'labels/1.png'.*: write "
        "one class number a pixel, the same in every map",
    ):
        prepared(**LABELLED)


def test_one_colour_that_has_another_number_in_another_map_is_refused(labelled: Path) -> None:
    first, second, third = sorted(labelled.rglob("*.png"))
    as_palette({0: 10, 1: 20, 2: 5})(np.resize([0, 1], SIZE).astype(np.uint8), first)
    for path in (second, third):
        as_palette({0: 10, 1: 30, 2: 20})(np.resize([0, 2], SIZE).astype(np.uint8), path)
    with pytest.raises(ReclipError, match="the colour #141414 is number 1 in label .* and 2 in"):
        prepared(**LABELLED)


def test_palettes_may_differ_where_no_pixel_has_the_number(labelled: Path) -> None:
    """And beside grey maps, and with two numbers of one colour in each of them."""
    first, second, third = sorted(labelled.rglob("*.png"))
    ids = np.resize([0, 1, 4, 255], SIZE).astype(np.uint8)
    as_palette({0: 10, 1: 20, 4: 20, 9: 99, 255: 255})(ids, first)
    as_palette({0: 10, 1: 20, 4: 20, 8: 10, 255: 7})(ids, second)
    as_grey(ids, third)
    assert len(prepared(**LABELLED).items("val")) == 3


def test_training_photos_must_not_link_to_val_photos(labelled: Path) -> None:
    Path("photos/linked").symlink_to("../val/more")
    with pytest.raises(ReclipError, match="source.val_images: 'val' and the training photos"):
        prepared(**LABELLED)


BAD = {
    "an id too many": (unknown, "holds id 20, it should have 0..19 and 255"),
    "another size": (big, "is 9×9, the photo, upright by its EXIF data, 56×48"),
    "a photo": (
        lambda p: shutil.copy("val/0.png", p),
        "has mode RGB, not one class number a pixel",
    ),
    "no label": (lambda p: p.unlink(), "1 of 3 val photos have no label map, as 'val/0.png'"),
    "no photo": (
        lambda p: shutil.copy(p, p.with_name("alone.png")),
        "1 of 4 label maps belong to no val photo, as 'labels/alone.png'",
    ),
    "a corrupt label": (lambda p: p.write_bytes(b"x"), "'labels/0.png' cannot be read"),
    "two photos of a name": (lambda p: grey(Path("val/0.jpg")), "share a label map"),
}


def test_labels_without_a_class_are_refused(labelled: Path) -> None:
    """Otherwise all results would be 0 without an error."""
    for path in labelled.rglob("*.png"):
        write_label(path, np.full_like(read_label(path), 255), len(NAMES))
    with pytest.raises(ReclipError, match="'labels' hold only 255, which is no class"):
        prepared(**LABELLED)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_pair_is_one_sentence(labelled: Path, bad: str) -> None:
    make, words = BAD[bad]
    make(labelled / "0.png")
    with pytest.raises(ReclipError) as caught:
        prepared(**LABELLED)
    assert words in str(caught.value) and "\n" not in caught.value.args[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"val_images": "val"}, "`val_labels` is missing: give both photos and labels, or neither"),
        ({"val_labels": "labels"}, "`val_images` is missing"),
    ],
)
def test_val_photos_and_labels_need_each_other(given: dict, words: str) -> None:
    with pytest.raises(ReclipError) as caught:
        validate(FolderSource, source(**given))
    assert words in str(caught.value)


@pytest.mark.parametrize("key", ["val_images", "val_labels"])
def test_val_files_among_training_photos_are_refused(labelled: Path, key: str) -> None:
    shutil.copytree(LABELLED[key], "photos/inside")
    with pytest.raises(ReclipError, match="lie in one another: put them side by side"):
        prepared(**{**LABELLED, key: "photos/inside"})
