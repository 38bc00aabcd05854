"""Cityscapes in its official layout, from a tiny made copy."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED, read_label
from reclip.data.index import DataSet
from reclip.data.layouts import cityscapes
from reclip.data.prepare import prepare_photos
from support.tiny_cityscapes import CLASSES, TRAIN, VAL, make_cityscapes, map_path, write_map


def prepare(root: Path, folder: Path, limit: int | None = None) -> DataSet:
    prepare_photos(cityscapes.read(root, root), limit, folder)
    return DataSet(folder)


def test_the_classes_are_in_the_order_of_their_ids() -> None:
    named = dict(zip(cityscapes.IDS, (name for (name,) in cityscapes.CLASSES), strict=True))
    assert list(named) == sorted(named) and len(named) == 19
    assert {id: named[id] for id in (7, 17, 20, 21, 25, 31, 33)} == {
        7: "road", 17: "pole", 20: "traffic sign", 21: "vegetation", 25: "rider", 31: "train",
        33: "bicycle",
    }  # fmt: skip


def test_a_copy_is_indexed_by_city_and_name_without_its_test_split(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    data = prepare(root, tmp_path / "data")
    assert [item.id for item in data.items("train")] == TRAIN
    (item,) = data.items("val")
    assert (item.id, item.height, item.width) == (VAL[0], 4, 6)
    assert item.image == root / f"leftImg8bit/val/frankfurt/{VAL[0]}_leftImg8bit.png"
    assert list(data.train_labels()) == TRAIN
    assert data.class_names == [list(names) for names in cityscapes.CLASSES]


def test_ids_that_the_benchmark_ignores_are_no_class(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    data = prepare(root, tmp_path / "data")
    assert read_label(data.items("val")[0].label)[0].tolist() == CLASSES
    write_map(root, "val", VAL[0], np.arange(34, dtype=np.uint8)[:24].reshape(4, 6))
    label = read_label(prepare(root, tmp_path / "again").items("val")[0].label)
    others = [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18]
    assert np.flatnonzero(label.ravel() == IGNORED).tolist() == others


def test_without_label_ids_the_derived_train_ids_are_read(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    derived = np.tile(np.array(CLASSES, np.uint8), (4, 1))
    write_map(root, "val", VAL[0], np.zeros((4, 6), np.uint8), "labelTrainIds")  # of other scripts
    data = prepare(root, tmp_path / "data")
    assert read_label(data.items("val")[0].label)[0].tolist() == CLASSES
    map_path(root, "val", VAL[0]).unlink()
    write_map(root, "val", VAL[0], derived, "labelTrainIds")
    data = prepare(root, tmp_path / "again")
    assert read_label(data.items("val")[0].label)[0].tolist() == CLASSES


@pytest.mark.parametrize(
    ("kind", "wrong", "known"),
    [("labelIds", 34, "0..33"), ("labelIds", 255, "0..33"), ("labelTrainIds", 19, "0..18 and 255")],
)
def test_an_id_that_cityscapes_lacks_is_refused(
    tmp_path: Path, kind: str, wrong: int, known: str
) -> None:
    root = make_cityscapes(tmp_path)
    map_path(root, "val", VAL[0]).unlink()
    write_map(root, "val", VAL[0], np.full((4, 6), wrong, np.uint8), kind)
    with pytest.raises(ReclipError, match=f"{kind}.png' holds id {wrong}, .* {known}"):
        prepare(root, tmp_path / "data")


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    write_map(root, "train", TRAIN[0], np.zeros((6, 4), np.uint8))
    with pytest.raises(ReclipError, match=f"{TRAIN[0]}_leftImg8bit.png' is 4×6, .* 6×4"):
        prepare(root, tmp_path / "data")


def test_a_missing_map_is_one_sentence(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    map_path(root, "val", VAL[0]).unlink()
    with pytest.raises(ReclipError, match=f"no label map '.*{VAL[0]}_gtFine_labelIds.png'"):
        prepare(root, tmp_path / "data")


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    (root / "leftImg8bit/val").rename(tmp_path / "elsewhere")
    with pytest.raises(ReclipError, match="no folder .*leftImg8bit/val': restore it"):
        cityscapes.read(root, root)
    (root / "gtFine").rename(tmp_path / "elsewhere, too")
    with pytest.raises(ReclipError, match="holds no labels of Cityscapes .'gtFine/val' is missing"):
        cityscapes.read(root, root)


def test_without_photos_in_its_cities_is_one_sentence(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    for photo in (root / "leftImg8bit/val/frankfurt").iterdir():
        photo.rename(photo.with_name(f"._{photo.name}"))  # as macOS names what it adds
    with pytest.raises(ReclipError, match="no val photos"):
        prepare(root, tmp_path / "data")


def test_the_counts_are_compared_with_the_official_ones(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        prepare(make_cityscapes(tmp_path), tmp_path / "data")
    assert "3 train and 1 val photos, officially 2,975 train and 500 val" in caplog.text


@pytest.mark.parametrize("depth", ["", "cityscapes"])
def test_photos_and_labels_are_found_in_one_folder(tmp_path: Path, depth: str) -> None:
    root = make_cityscapes(tmp_path)
    assert cityscapes.find_root(tmp_path / depth) == root
    assert cityscapes.labels_beside(root) == root


def test_photos_and_labels_may_lie_in_two_folders(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    labels = tmp_path / "gtFine_trainvaltest"
    labels.mkdir()
    (root / "gtFine").rename(labels / "gtFine")
    assert cityscapes.labels_beside(root) is None
    layout = cityscapes.read(root, labels)
    assert all(photo.labelled for split in layout.photos.values() for photo in split)


def test_a_folder_of_something_else_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReclipError, match="holds no photos of Cityscapes .'leftImg8bit/train'"):
        cityscapes.find_root(tmp_path)
