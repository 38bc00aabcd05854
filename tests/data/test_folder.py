"""A folder of photos as a dataset: its photos, ids, staleness, and labels or none."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.common.hashing import CACHE
from reclip.common.tables import read_table
from reclip.config.load import validate
from reclip.config.models import Params
from reclip.config.sources import FolderSource
from reclip.data.folder import LEFT_OUT, LEFT_OUT_COLUMNS, prepare_folder
from reclip.data.images import read_image, read_label, write_label
from reclip.data.index import DataSet
from reclip.data.photos import digest_of_photos, list_photos, photo_id
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish, why_stale
from reclip.versioning.dvc_yaml import pipeline_text
from support.at_the_shell import Project, reclip
from support.folder_of_scenes import LABELLED, NAMES, draw, params, source
from support.tiny_experiment import merged

ORIENTATION = 0x0112


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def grey(path: Path, size: tuple[int, int] = (6, 4), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 80, 70)).save(path, **options)
    return path


def prepared(**given) -> DataSet:
    prepare_folder(validate(FolderSource, source(**given)), Path("data"))
    return DataSet(Path("data"))


def left_out() -> list[str]:
    return [row["image"] for row in read_table(Path("data") / LEFT_OUT, LEFT_OUT_COLUMNS)]


# ---------------------------------------------------------------- which photos, and their ids


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_refused() -> None:
    grey(Path("photos/private/a.jpg"))
    Path("photos/private").chmod(0)
    try:
        with pytest.raises(ReclipError, match="photos/private' cannot be read .Permission denied"):
            list_photos("photos", "--images")
    finally:
        Path("photos/private").chmod(0o700)


@pytest.mark.parametrize("given", [[], [b"no photo"], [b"", b"\xff\xd8\xff\xe0\x00\x10JFIF"]])
def test_a_folder_without_a_photo(given: list[bytes]) -> None:
    Path("photos").mkdir()
    for i, content in enumerate(given):
        Path(f"photos/{i}.jpg").write_bytes(content)
    words = f"none of the {len(given)} photos in" if given else "'photos' holds no photo: put JPEG"
    with pytest.raises(ReclipError, match="params: 'source.images': ") as caught:
        prepared()
    assert words in str(caught.value)


def test_odd_photos_are_read_and_corrupt_ones_are_left_out(caplog) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    grey(Path("photos/turned.jpg"), exif=exif)
    Image.new("CMYK", (6, 4)).save("photos/cmyk.jpg")
    Image.fromarray(np.full((4, 6), 300, np.uint16)).save("photos/16.png")
    Image.new("RGBA", (6, 4), (1, 2, 3, 9)).save("photos/alpha.png")
    whole = grey(Path("photos/whole.jpg"), (64, 64))
    Path("photos/cut.jpg").write_bytes(whole.read_bytes()[:-100])  # its header is whole
    Path("photos/empty.jpg").write_bytes(b"")
    Path("photos/gone.jpg").symlink_to("nowhere.jpg")
    Path("photos/phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with caplog.at_level(logging.WARNING):
        data = prepared()
    sizes = {item.id: (item.height, item.width) for item in data.items("train")}
    assert sizes == {
        "16.png": (4, 6), "alpha.png": (4, 6), "cmyk.jpg": (4, 6), "turned.jpg": (6, 4),
        "whole.jpg": (64, 64),
    }  # fmt: skip
    for item in data.items("train"):
        assert read_image(item.image).shape[:2] == (item.height, item.width)
    assert left_out() == ["photos/cut.jpg", "photos/empty.jpg", "photos/gone.jpg",
                          "photos/phone.HEIC"]  # fmt: skip
    assert caplog.text.count("left out photos/") == 4
    assert data.facts["counts"] == {"train": 5, "val": 0} and data.facts["left_out"] == 4
    assert data.items("val") == [] and data.train_labels() == {}


def test_the_limit_takes_the_first() -> None:
    draw(Path("photos"), 5)
    assert [item.id for item in prepared(limit=2).items("train")] == ["0.png", "1.png"]


# ---------------------------------------------------------------- staleness, by content


def stale(plan: Plan) -> list[str]:
    return [job.name for job in plan.jobs if job.stage == "prepare" and why_stale(job)]


def the_plan() -> Plan:
    return Plan(validate(Params, params()))


def add(photos: list[Path]) -> None:
    shutil.copy(photos[0], "photos/new.png")


def replace(photos: list[Path]) -> None:
    """Replace the first photo by another of the same size and times."""
    size, stat = photos[0].stat().st_size, photos[0].stat()
    content = bytearray(photos[0].read_bytes())
    content[-20] ^= 1
    time.sleep(0.05)
    photos[0].write_bytes(content)
    os.utime(photos[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert photos[0].stat().st_size == size


CHANGES = {
    "added": (add, True),
    "removed": (lambda photos: photos[0].unlink(), True),
    "renamed": (lambda photos: photos[0].rename("photos/other.png"), True),
    "replaced": (replace, True),
    "touched": (lambda photos: photos[0].touch(), False),
    "read": (lambda photos: photos[0].read_bytes(), False),
    "a note beside them": (lambda photos: Path("photos/notes.txt").write_text("x"), False),
    "a folder beside them": (lambda photos: Path("photos/empty").mkdir(), False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_changed_photos_make_the_dataset_stale(change: str) -> None:
    photos = draw(Path("photos"), 3)
    job = the_plan().job("prepare", "voc")
    finish(job, prepare_folder(job.settings["source"], job.folder))
    assert stale(the_plan()) == []
    make, changes = CHANGES[change]
    make(photos)
    assert stale(the_plan()) == (["prepare voc"] if changes else [])
    if changes:
        assert "photos.images 3 files, " in why_stale(the_plan().job("prepare", "voc"))


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


# ---------------------------------------------------------------- labels of val photos


@pytest.fixture
def labelled() -> Path:
    """Draw training photos, three val photos and their labels."""
    draw(Path("photos"), 2)
    draw(Path("val"), 3, "val", Path("labels"))
    return Path("labels")


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


BAD = {
    "an id too many": (unknown, "holds id 20, it should have 0..19 and 255"),
    "another size": (big, "is 9×9, the photo, upright by its EXIF data, 56×48"),
    "a photo": (lambda p: shutil.copy("val/0.png", p), "has mode RGB, not one id a pixel"),
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
    assert words in str(caught.value) and "\n" not in str(caught.value)


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


# ---------------------------------------------------------------- what is planned


def test_without_labels_nothing_is_evaluated() -> None:
    draw(Path("photos"), 2)
    plan = the_plan()
    wanted = {
        "prepare", "embed-text", "cache-features", "hypothesise", "rectify", "pseudo-mask",
        "distill", "package", "summarise",
    }  # fmt: skip
    assert {job.stage for job in plan.jobs} == wanted
    made = {job.name for job in plan.default_jobs}
    assert {"rectify rectified", "distill distilled", "summarise tiny"} <= made
    stages = yaml.safe_load(pipeline_text(plan))["stages"]
    assert stages.keys() == {job.stage for job in plan.default_jobs} | {"plan"}
    assert "results/tiny/summary/summary.md" in str(stages["summarise"]["outs"])


def test_with_labels_there_are_metrics_too(labelled: Path) -> None:
    plan = Plan(validate(Params, params(source(**LABELLED))))
    assert {"evaluate", "plot", "summarise"} <= {job.stage for job in plan.jobs}
    assert "evaluate distilled" in {job.name for job in plan.default_jobs}


def test_one_photo_goes_through_every_stage() -> None:
    """Training learns little from it, but nothing divides by zero."""
    draw(Path("photos"), 1)
    project = Project(params())
    project.succeed("prepare", "embed-text", "cache-features", "hypothesise")
    for stage, run in (("rectify", "rectified"), ("pseudo-mask", "rectified"),
                       ("distill", "distilled")):  # fmt: skip
        assert project.run(stage, id=run).code == 0
    assert reclip("summarise").code == 0
    (mask,) = project.results.glob("runs/rectified/pseudo-mask/seed-0/*.png")
    assert read_label(mask).shape == (48, 56)
    curve = (project.results / "runs/distilled/distill/seed-0-curve.csv").read_text()
    assert "nan" not in curve


def test_labels_lead_to_metrics(labelled: Path) -> None:
    """The stages run on val photos, and the train split has no label."""
    given = params(source(**LABELLED))
    given["runs"] = {"query": {"dataset": "voc", "method": "query"}}
    project = Project(given)
    project.succeed("prepare", "embed-text", "cache-features", "hypothesise", "evaluate")
    metrics = read_json(project.results / "runs/query/metrics.json")
    assert (metrics["images"], metrics["split"]) == (3, "val")
    confusion = np.load(project.results / "runs/query/evaluate/confusion.npy")
    assert confusion.sum() == sum((read_label(p) != 255).sum() for p in labelled.rglob("*.png"))


TABLE = {"title": "", "rows": [{"row": "a", "cells": {"voc": {"run": "rectified"}}}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"tables": {"table1": TABLE}},
            "'tables.table1.rows.0.cells.voc.run': cannot evaluate run 'rectified', because "
            "dataset 'voc' has no labels",
        ),
        (
            {"runs": {"probe": {"dataset": "voc", "method": "probe", "student": "distilled"}}},
            "'runs.probe' learns from labels of training photos, but dataset 'voc' has none",
        ),
    ],
)
def test_what_needs_labels_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(ReclipError) as caught:
        Plan(validate(Params, merged(params(), changes)))
    assert words in str(caught.value)


def test_commands_say_that_there_are_no_labels() -> None:
    draw(Path("photos"), 2)
    Project(params())
    said = reclip("evaluate", "--run", "rectified")
    assert said.code == 1 and "cannot evaluate run 'rectified', because dataset 'voc'" in said.err
    said = reclip("compare", "rectified", "distilled")
    assert said.code == 1 and "cannot evaluate run" in said.err
