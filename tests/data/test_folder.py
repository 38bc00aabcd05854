"""A folder of photos as a dataset: what is read, what makes it stale, and what is planned."""

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
from reclip.common.tables import read_table
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.data.folder import (
    LEFT_OUT,
    LEFT_OUT_COLUMNS,
    WARNINGS,
    WARNINGS_COLUMNS,
    prepare_folder,
)
from reclip.data.images import read_image, read_label
from reclip.data.index import DataSet
from reclip.data.photos import photo_id
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish, why_stale
from reclip.versioning.dvc_yaml import pipeline_text
from support.at_the_shell import Project, reclip
from support.folder_of_scenes import (
    LABELLED,
    draw,
    grey,
    left_out,
    params,
    prepared,
    source,
)
from support.odd_photos import odd_name
from support.tiny_experiment import merged

ORIENTATION = 0x0112


pytestmark = pytest.mark.usefixtures("here")


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
    assert not data.items("val") and data.train_labels() == {}


def test_the_limit_takes_the_first() -> None:
    draw(Path("photos"), 5)
    assert [item.id for item in prepared(limit=2).items("train")] == ["0.png", "1.png"]


def test_photos_of_12_bits_are_read_with_a_warning(caplog) -> None:
    grey(Path("photos/a.jpg"))
    Image.fromarray(np.full((4, 6), 4000, np.uint16)).save("photos/12.tif")
    with caplog.at_level(logging.WARNING):
        assert len(prepared().items("train")) == 2
    (row,) = read_table(Path("data") / WARNINGS, WARNINGS_COLUMNS)
    assert row["about"] == "photos/12.tif" and "scale them to 16" in row["warning"]
    assert row["warning"] in caplog.text and left_out() == []


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


def test_a_photo_whose_name_is_not_utf_8_is_left_out_with_a_sentence(caplog) -> None:
    grey(Path("photos/a.jpg"))
    odd = odd_name(Path("photos") / os.fsdecode(b"\xe9.jpg"))
    folder = odd_name(Path("photos") / os.fsdecode(b"\xe9t\xe9"))
    for path in (odd, folder / "b.jpg"):
        grey(path)
    plan = the_plan().job("prepare", "voc")
    with caplog.at_level(logging.WARNING):
        finish(plan, prepare_folder(plan.settings["source"], plan.folder))
    assert [item.id for item in DataSet(plan.folder).items("train")] == ["a.jpg"]
    rows = read_table(plan.folder / LEFT_OUT, LEFT_OUT_COLUMNS)
    assert {row["image"] for row in rows} == {"photos/\\xe9.jpg", "photos/\\xe9t\\xe9/b.jpg"}
    assert all("not UTF-8 text: rename it" in row["reason"] for row in rows)
    assert "photos/\\xe9.jpg" in caplog.text and caplog.text.encode()
    assert stale(the_plan()) == []
    assert photo_id(odd, "photos").isascii()


def test_a_folder_whose_name_is_not_utf_8_is_refused_in_one_sentence() -> None:
    folder = odd_name(Path(os.fsdecode(b"\xe9")))
    grey(folder / "a.jpg")
    given = ["--images", os.fspath(folder), "--classes", "cat, dog", "--clip", "mini-clip"]
    said = reclip("init", "folder", *given, "--output", "own.yaml")
    assert said.code == 1 and "not UTF-8 text" in said.err and not Path("own.yaml").exists()


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
    assert {"rectify rectified seed 0", "distill distilled seed 0", "summarise tiny"} <= made
    stages = yaml.safe_load(pipeline_text(plan))["stages"]
    assert stages.keys() == {job.stage for job in plan.default_jobs} | {"plan"}
    assert "results/tiny/summary/summary.md" in str(stages["summarise"]["outs"])


def test_with_labels_there_are_metrics_too(labelled: Path) -> None:
    plan = Plan(validate(Params, params(source(**LABELLED))))
    assert {"evaluate", "gather", "plot", "summarise"} <= {job.stage for job in plan.jobs}
    assert "gather distilled" in {job.name for job in plan.default_jobs}


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
    curve = (project.results / "runs/distilled/distill/seed-0/curve.csv").read_text()
    assert "nan" not in curve


def test_labels_lead_to_metrics(labelled: Path) -> None:
    """The stages run on val photos, and the train split has no label."""
    given = params(source(**LABELLED))
    given["runs"] = {"query": {"dataset": "voc", "method": "query"}}
    project = Project(given)
    project.succeed("prepare", "embed-text", "cache-features", "hypothesise", "evaluate", "gather")
    metrics = read_json(project.results / "runs/query/metrics.json")
    assert (metrics["images"], metrics["split"]) == (3, "val")
    confusion = np.load(project.results / "runs/query/gather/confusion.npy")
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
