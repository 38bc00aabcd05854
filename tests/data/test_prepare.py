"""Stage `prepare`: behaviour for photos of every dataset."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_json
from reclip.config.models import ComputeSettings
from reclip.config.sources import (
    AdeSource,
    CityscapesSource,
    CocoStuff27Source,
    CocoStuff171Source,
    ContextSource,
    VocSource,
    WorldSource,
)
from reclip.data.images import read_image, read_label
from reclip.data.index import DataSet
from reclip.data.layouts import voc
from reclip.data.layouts.layout import Layout
from reclip.data.layouts.protocol_names import names_of
from reclip.data.prepare import prepare_photos, rename_classes
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import why_stale
from reclip.stages import prepare, probe
from support.tiny_ade import make_ade
from support.tiny_cityscapes import make_cityscapes
from support.tiny_coco import make_coco
from support.tiny_context import make_json, make_voc2010
from support.tiny_voc import TRAIN, VAL, make_voc, write_mask

ORIENTATION = 0x0112


def job_of(source, folder: Path, **raw: Path) -> Job:
    """A prepare job after a fetch that found `raw`."""
    plan = folder / "plan"
    inputs = {}
    if raw:
        fetch = Job("fetch", "set", folder / "raw", plan, {"source": source})
        write_json(fetch.folder / "source.json", {role: str(path) for role, path in raw.items()})
        inputs = {"raw": fetch}
    return Job("prepare", "set", folder / "data", plan, {"source": source}, inputs)


@pytest.mark.parametrize(
    "kind", ["world", "voc", "context", "ade", "cityscapes", "coco-stuff-27", "coco-stuff-171"]
)
def test_every_kind_of_source_is_prepared(tmp_path: Path, kind: str) -> None:
    if kind == "world":
        source = WorldSource(kind="world", world="voc", train=2, val=1)
        job = job_of(source, tmp_path)
    elif kind == "voc":
        job = job_of(VocSource(kind="voc"), tmp_path, root=make_voc(tmp_path))
    elif kind == "ade":
        job = job_of(AdeSource(kind="ade", limit=1), tmp_path, root=make_ade(tmp_path))
    elif kind == "cityscapes":
        root = make_cityscapes(tmp_path)
        job = job_of(CityscapesSource(kind=kind), tmp_path, root=root, labels=root)
    elif kind.startswith("coco"):
        model = CocoStuff27Source if kind == "coco-stuff-27" else CocoStuff171Source
        root = make_coco(tmp_path)
        job = job_of(model(kind=kind), tmp_path, root=root, labels=root.parent / "annotations")
    else:
        paths = {"root": make_voc2010(tmp_path), "labels": make_json(tmp_path)}
        job = job_of(ContextSource(kind="context"), tmp_path, **paths)
    prepare.main(job)
    assert why_stale(job) is None
    data = DataSet(job.folder)
    train, val = data.items("train"), data.items("val")
    assert data.facts["kind"] == kind and data.facts["lists"]
    assert data.facts["counts"] == {"train": len(train), "val": len(val)}
    assert [item.label for item in train] == [None] * len(train)
    assert {path.stem for path in (job.folder / "labels").iterdir()} == {
        item.id for item in (*train, *val)
    }
    assert set(data.train_labels()) == {item.id for item in train}


# ---------------------------------------------------------------- names of a protocol


def test_names_of_a_protocol_replace_the_datasets_own_and_nothing_else(tmp_path: Path) -> None:
    facts, labels, root = {}, {}, make_voc(tmp_path)
    for protocol in (None, "sclip"):
        job = job_of(VocSource(kind="voc"), tmp_path / f"{protocol}", root=root)
        job.settings.update({"names": protocol} if protocol else {})
        prepare.main(job)
        assert why_stale(job) is None
        facts[protocol] = read_json(job.folder / "classes.json")
        labels[protocol] = [p.read_bytes() for p in sorted((job.folder / "labels").iterdir())]
    named = [list(names) for names in names_of("sclip", "voc")]
    assert facts["sclip"] == facts[None] | {"names": named} != facts[None]
    assert labels["sclip"] == labels[None]


def test_a_dataset_of_another_may_have_names_of_its_own(tmp_path: Path) -> None:
    source = job_of(VocSource(kind="voc"), tmp_path, root=make_voc(tmp_path))
    prepare.main(source)
    copy = Job("prepare", "copy", tmp_path / "copy", tmp_path / "plan", {"names": "clearclip"},
               {"of": source})  # fmt: skip
    prepare.main(copy)
    assert why_stale(copy) is None
    one, other = DataSet(source.folder), DataSet(copy.folder)
    assert other.class_names == [list(names) for names in names_of("clearclip", "voc")]
    assert one.class_names != other.class_names
    assert list(one.items("val")) == list(other.items("val"))


def test_names_that_a_protocol_lacks_are_refused(tmp_path: Path) -> None:
    job = job_of(WorldSource(kind="world", world="voc", train=2, val=1), tmp_path)
    job.settings["names"] = "sclip"
    with pytest.raises(ReclipError, match=r"names: sclip.*kind 'world'"):
        prepare.main(job)


def test_names_of_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "classes.json", {"kind": "voc", "names": [["cat"], ["dog"]]})
    with pytest.raises(ReclipError, match="names 20 classes, but .* has 2: remove `names`"):
        rename_classes(tmp_path, "clearclip")


# ---------------------------------------------------------------- odd photos


def photo_16_bit(path: Path) -> None:
    Image.fromarray(np.full((4, 6), 300, np.uint16)).save(path, "PNG")


ODD = {
    "CMYK": lambda path: Image.new("CMYK", (6, 4)).save(path),
    "grey": lambda path: Image.new("L", (6, 4)).save(path),
    "16 bits": photo_16_bit,
    "alpha": lambda path: Image.new("RGBA", (6, 4), (1, 2, 3, 9)).save(path, "PNG"),
    "palette": lambda path: Image.new("P", (6, 4)).save(path, "PNG"),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_photo_is_indexed_with_its_size(tmp_path: Path, odd: str) -> None:
    root = make_voc(tmp_path)
    path = root / f"JPEGImages/{VAL[0]}.jpg"
    ODD[odd](path)
    prepare_photos(voc.read(root), None, tmp_path / "data")
    (item,) = DataSet(tmp_path / "data").items("val")
    assert (item.height, item.width) == (4, 6) == read_image(item.image).shape[:2]


def turned(root: Path) -> None:
    """A photo that is stored as 6×4 and shown as 4×6."""
    image = Image.new("RGB", (6, 4))
    exif = image.getexif()
    exif[ORIENTATION] = 6
    image.save(root / f"JPEGImages/{VAL[0]}.jpg", exif=exif)


def test_a_turned_photo_takes_an_upright_mask(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    turned(root)
    write_mask(root, VAL[0], np.ones((6, 4), np.uint8))
    prepare_photos(voc.read(root), None, tmp_path / "data")
    (item,) = DataSet(tmp_path / "data").items("val")
    assert (item.height, item.width) == (6, 4) == read_image(item.image).shape[:2]
    assert read_label(item.label).shape == (6, 4)


def test_a_turned_photo_with_a_mask_that_is_not_turned_is_refused(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    turned(root)
    with pytest.raises(ReclipError, match="is 6×4, the photo, upright by its EXIF data, 4×6"):
        prepare_photos(voc.read(root), None, tmp_path / "data")


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff\xd8\xff\xe0\x00\x10JFIF"])
def test_a_corrupt_photo_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    root = make_voc(tmp_path)
    (root / f"JPEGImages/{VAL[0]}.jpg").write_bytes(content)
    with pytest.raises(ReclipError, match=f"{VAL[0]}.jpg' cannot be read as an image"):
        prepare_photos(voc.read(root), None, tmp_path / "data")


# ---------------------------------------------------------------- lists


def test_a_photo_of_both_splits_is_refused(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    (root / "ImageSets/Segmentation/val.txt").write_text(f"{VAL[0]}\n{TRAIN[1]}\n")
    with pytest.raises(ReclipError, match=f"'{TRAIN[1]}' is listed 2 times .*VOC 2012.: list it"):
        prepare_photos(voc.read(root), None, tmp_path / "data")


@pytest.mark.parametrize("line", ["../../x", "/JPEGImages/a.jpg /SegmentationClass/a.png"])
def test_a_line_that_is_no_id_is_refused(tmp_path: Path, line: str) -> None:
    root = make_voc(tmp_path)
    (root / "ImageSets/Segmentation/val.txt").write_text(f"{line}\n")
    with pytest.raises(ReclipError, match="val.txt' lists '.*', not the id of a photo"):
        voc.read(root)


def test_the_official_number_of_photos_is_no_news(tmp_path: Path, caplog) -> None:
    layout = voc.read(make_voc(tmp_path))
    official = Layout("voc", layout.class_names, "lists", {"train": 2, "val": 1}, layout.photos)
    with caplog.at_level(logging.WARNING):
        prepare_photos(official, None, tmp_path / "data")
        assert not caplog.records
        prepare_photos(layout, 5, tmp_path / "data")
        assert not caplog.records
        prepare_photos(layout, None, tmp_path / "data")
    assert "2 train and 1 val photos, officially 1,464 train and 1,449 val" in caplog.text


# ---------------------------------------------------------------- without training labels


def without_train_labels(folder: Path) -> Path:
    root = make_voc(folder)
    for id in TRAIN:
        (root / f"SegmentationClass/{id}.png").unlink()
    prepare_photos(voc.read(root), None, folder / "data")
    return folder / "data"


def test_training_needs_no_label_files(tmp_path: Path) -> None:
    data = DataSet(without_train_labels(tmp_path))
    assert [item.id for item in data.items("train")] == TRAIN
    assert data.train_labels() == {}
    assert [path.stem for path in (data.folder / "labels").iterdir()] == VAL


def test_the_probe_says_that_there_are_no_training_labels(tmp_path: Path) -> None:
    data = SimpleNamespace(folder=without_train_labels(tmp_path))
    settings = {"probe": None, "compute": ComputeSettings(device="cpu")}
    job = SimpleNamespace(id="voc-probe", settings=settings, inputs={"data": data})
    with pytest.raises(ReclipError, match="lists no training labels.* or drop run 'voc-probe'"):
        probe.main(job)
