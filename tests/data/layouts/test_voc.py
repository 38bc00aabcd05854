"""PASCAL VOC 2012 in its official layout, from a tiny made copy and from real photos."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED, image_size, read_label
from reclip.data.index import DataSet
from reclip.data.layouts import voc
from reclip.data.prepare import prepare_photos
from support.needs import VOC, needs_voc
from support.tiny_voc import TRAIN, VAL, make_voc, write_mask


def prepare_voc(root: Path, limit: int | None, folder: Path) -> list[Path]:
    return prepare_photos(voc.read(root), limit, folder)


def test_a_copy_is_indexed_in_the_order_of_its_lists(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    folder = tmp_path / "data"
    outputs = prepare_voc(root, None, folder)
    assert all(path.is_file() and path.is_relative_to(folder) for path in outputs)
    data = DataSet(folder)
    assert [item.id for item in data.items("train")] == TRAIN
    (item,) = data.items("val")
    assert (item.id, item.height, item.width) == ("2008_000009", 4, 6)
    assert item.image == root / "JPEGImages/2008_000009.jpg"
    assert list(data.train_labels()) == TRAIN


def test_background_and_void_are_ignored_and_ids_start_at_0(tmp_path: Path) -> None:
    prepare_voc(make_voc(tmp_path), None, tmp_path / "data")
    label = read_label(DataSet(tmp_path / "data").items("val")[0].label)
    assert label[0].tolist() == [IGNORED, 0, 19, IGNORED, 14, IGNORED]


def test_masks_that_number_colours_anew_in_each_file_are_refused(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    with Image.open(root / f"SegmentationClass/{VAL[0]}.png") as mask:
        mask.load()
    mask.putpalette(bytes(range(255, -1, -1)) * 3)
    mask.save(root / f"SegmentationClass/{VAL[0]}.png")
    with pytest.raises(ReclipError, match="number 0 is .*: write one class number a pixel, the sa"):
        prepare_voc(root, None, tmp_path / "data")


def test_dot_files_and_the_folder_of_macos_are_passed_over(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "zip").parent.rename(tmp_path / "zip/devkit") / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder / "._2008_000009.jpg").write_bytes(b"of macOS")
    shadow = tmp_path / "zip/__MACOSX/ImageSets/Segmentation"
    shadow.mkdir(parents=True)
    (shadow / "train.txt").write_bytes(b"of macOS")
    assert voc.find_root(tmp_path / "zip") == root
    prepare_voc(root, None, tmp_path / "data")
    assert len(DataSet(tmp_path / "data").items("train")) == 2


@needs_voc
def test_real_photos(tmp_path: Path, caplog) -> None:
    with tarfile.open(VOC) as archive:
        archive.extractall(tmp_path, filter="data")
    layout = voc.read(voc.find_root(tmp_path))
    prepare_photos(layout, 12, tmp_path / "data")
    assert not caplog.records  # a limit is no surprise
    data = DataSet(tmp_path / "data")
    assert data.facts["counts"] == {"train": 12, "val": 12}
    for item in data.items("val"):
        label = read_label(item.label)
        assert label.shape == (item.height, item.width) == image_size(item.image)
        assert 0 < (label < 20).mean() < 1  # some object, some background or border


def test_classes_are_in_the_official_order(tmp_path: Path) -> None:
    prepare_voc(make_voc(tmp_path), None, tmp_path / "data")
    names = [synonyms[0] for synonyms in DataSet(tmp_path / "data").class_names]
    assert names == [
        "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa",
        "train", "tv monitor",
    ]  # fmt: skip


def test_a_limit_takes_the_first_of_each_split(tmp_path: Path) -> None:
    prepare_voc(make_voc(tmp_path), 1, tmp_path / "data")
    assert [item.id for item in DataSet(tmp_path / "data").items("train")] == TRAIN[:1]


@pytest.mark.parametrize("wrong", [21, 128, 254])
def test_an_id_that_voc_lacks_is_refused(tmp_path: Path, wrong: int) -> None:
    root = make_voc(tmp_path)
    write_mask(root, VAL[0], np.full((4, 6), wrong, np.uint8))
    with pytest.raises(ReclipError, match=f"{VAL[0]}.png' holds id {wrong}, .* 0..20 and 255"):
        prepare_voc(root, None, tmp_path / "data")


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    write_mask(root, VAL[0], np.zeros((6, 4), np.uint8))
    with pytest.raises(ReclipError, match="is 4×6, the photo.* 6×4"):
        prepare_voc(root, None, tmp_path / "data")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"JPEGImages/{VAL[0]}.jpg", f"lists '{VAL[0]}' but there is no"),
        (f"SegmentationClass/{VAL[0]}.png", "has no label map"),
        ("ImageSets/Segmentation/val.txt", "val.txt': restore this list of photos"),
    ],
)
def test_a_missing_file_is_one_sentence(tmp_path: Path, path: str, words: str) -> None:
    root = make_voc(tmp_path)
    (root / path).unlink()
    with pytest.raises(ReclipError, match=words):
        prepare_voc(root, None, tmp_path / "data")


def test_an_rgb_mask_is_refused(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    Image.new("RGB", (6, 4)).save(root / "SegmentationClass" / f"{VAL[0]}.png")
    with pytest.raises(ReclipError, match="has mode RGB"):
        prepare_voc(root, None, tmp_path / "data")


def test_blank_lines_in_a_list_are_skipped(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    (root / "ImageSets/Segmentation/val.txt").write_text(f"\n {VAL[0]} \r\n\n")
    assert [photo.id for photo in voc.read(root).photos["val"]] == VAL


@pytest.mark.parametrize("depth", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_root_is_found_at_or_below_a_folder(tmp_path: Path, depth: str) -> None:
    root = make_voc(tmp_path)
    assert voc.find_root(tmp_path / depth) == root


def test_of_several_years_2012_is_taken(tmp_path: Path) -> None:
    make_voc(tmp_path, "VOC2007")
    root = make_voc(tmp_path, "VOC2012")
    assert voc.find_root(tmp_path) == root
    assert voc.find_root(tmp_path / "VOCdevkit/VOC2007").name == "VOC2007"  # as asked


def test_a_folder_without_voc_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReclipError, match="holds no VOC data"):
        voc.find_root(tmp_path)
