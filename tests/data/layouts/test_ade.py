"""ADE20K's benchmark in its official layout, from a tiny made copy and from three real photos."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED, image_size, read_label
from reclip.data.index import DataSet
from reclip.data.layouts import ade
from reclip.data.layouts.class_names import ADE_CLASSES
from reclip.data.prepare import prepare_photos
from support.needs import ADE, needs_ade
from support.tiny_ade import TRAIN, VAL, make_ade, write_mask, write_names


def prepare(root: Path, folder: Path, limit: int | None = None) -> DataSet:
    prepare_photos(ade.read(root), limit, folder)
    return DataSet(folder)


def test_a_copy_is_indexed_by_name(tmp_path: Path) -> None:
    root = make_ade(tmp_path)
    data = prepare(root, tmp_path / "data")
    assert [item.id for item in data.items("train")] == TRAIN
    (item,) = data.items("val")
    assert (item.id, item.height, item.width) == (VAL[0], 4, 6)
    assert item.image == root / f"images/validation/{VAL[0]}.jpg"
    assert list(data.train_labels()) == TRAIN
    assert data.class_names == [list(names) for names in ADE_CLASSES]


def test_0_is_ignored_and_ids_start_at_0(tmp_path: Path) -> None:
    data = prepare(make_ade(tmp_path), tmp_path / "data")
    label = read_label(data.items("val")[0].label)
    assert label[0].tolist() == [IGNORED, 0, 1, 149, 7, IGNORED]


@pytest.mark.parametrize("wrong", [151, 255])
def test_an_id_that_ade_lacks_is_refused(tmp_path: Path, wrong: int) -> None:
    root = make_ade(tmp_path)
    write_mask(root, "validation", VAL[0], np.full((4, 6), wrong, np.uint8))
    with pytest.raises(ReclipError, match=f"{VAL[0]}.png' holds id {wrong}, .* 0..150"):
        prepare(root, tmp_path / "data")


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    root = make_ade(tmp_path)
    write_mask(root, "training", TRAIN[0], np.zeros((6, 4), np.uint8))
    with pytest.raises(ReclipError, match=f"{TRAIN[0]}.jpg' is 4×6, the photo.* 6×4"):
        prepare(root, tmp_path / "data")


@pytest.mark.parametrize("path", [f"training/{TRAIN[1]}.png", f"validation/{VAL[0]}.png"])
def test_a_missing_mask_is_one_sentence(tmp_path: Path, path: str) -> None:
    root = make_ade(tmp_path)
    (root / "annotations" / path).unlink()
    with pytest.raises(ReclipError, match="has no label map"):
        prepare(root, tmp_path / "data")


def test_other_files_are_no_photos(tmp_path: Path) -> None:
    root = make_ade(tmp_path)
    (root / "images/training/Thumbs.db").touch()
    for folder, id in (("training", TRAIN[0]), ("validation", VAL[0])):
        (root / "images" / folder / f"._{id}.jpg").write_bytes(b"of macOS")
        (root / "annotations" / folder / f"._{id}.png").write_bytes(b"of macOS")
    assert len(prepare(root, tmp_path / "data").items("train")) == 2


def test_without_photos_is_one_sentence(tmp_path: Path) -> None:
    root = make_ade(tmp_path)
    for photo in (root / "images/validation").iterdir():
        photo.unlink()
    with pytest.raises(ReclipError, match="no val photos"):
        prepare(root, tmp_path / "data")
    (root / "images/validation").rmdir()
    with pytest.raises(ReclipError, match="no folder .*images/validation"):
        prepare(root, tmp_path / "data")


def test_names_in_another_order_are_refused(tmp_path: Path) -> None:
    root = make_ade(tmp_path)
    write_names(root, [name for (name,) in (*ADE_CLASSES[1:], ADE_CLASSES[0])])
    with pytest.raises(ReclipError, match="does not name class 1 'wall'"):
        ade.read(root)
    (root / "objectInfo150.txt").write_bytes(b"\xff<html>")
    with pytest.raises(ReclipError, match="does not name class 1 'wall'"):
        ade.read(root)


def test_names_may_be_missing(tmp_path: Path) -> None:
    root = make_ade(tmp_path)
    (root / "objectInfo150.txt").unlink()
    assert len(ade.read(root).photos["train"]) == 2


@pytest.mark.parametrize("depth", ["", "ADEChallengeData2016"])
def test_the_root_is_found_at_or_below_a_folder(tmp_path: Path, depth: str) -> None:
    root = make_ade(tmp_path)
    assert ade.find_root(tmp_path / depth) == root


@pytest.mark.parametrize("photos", ["images/training/a/abbey", "images/ADE/training/urban/street"])
def test_the_full_ade20k_is_told_from_its_benchmark(tmp_path: Path, photos: str) -> None:
    root = tmp_path / "full"
    for place in (photos, "images/validation/a"):
        (root / place).mkdir(parents=True)
        Image.new("RGB", (6, 4)).save(root / place / "ADE_train_00000001.jpg")
    with pytest.raises(ReclipError, match="is the full ADE20K, .* get ADEChallengeData2016.zip"):
        ade.read(ade.find_root(tmp_path))


def test_the_folder_that_macos_adds_to_archives_is_not_the_root(tmp_path: Path) -> None:
    root = make_ade(tmp_path / "set").rename(tmp_path / "set/of photos")
    for name in ("__MACOSX", ".Trash"):
        (tmp_path / "set" / name / "images/training").mkdir(parents=True)
    assert ade.find_root(tmp_path / "set") == root


def test_a_folder_without_ade_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReclipError, match="holds no ADE20K benchmark .*ADEChallengeData2016"):
        ade.find_root(tmp_path)


@needs_ade
def test_real_photos(tmp_path: Path, caplog) -> None:
    with zipfile.ZipFile(ADE) as bundle:
        bundle.extractall(tmp_path)
    with caplog.at_level(logging.WARNING):
        data = prepare(ade.find_root(tmp_path), tmp_path / "data")
    assert "1 train and 2 val photos, officially 20,210 train and 2,000 val" in caplog.text
    assert data.facts["counts"] == {"train": 1, "val": 2}
    for item in data.items("val"):
        label = read_label(item.label)
        assert label.shape == (item.height, item.width) == image_size(item.image)
        seen = {ADE_CLASSES[k][0] for k in np.unique(label[label != IGNORED])}
        assert {"sky", "wall", "building", "tree"} & seen
        assert Image.open(item.label).mode == "P"
