"""From a folder of photos and a list of class names to a model, through both front ends."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclip.common.files import read_json
from reclip.data.index import DataSet
from support.folder_of_scenes import NAMES, draw, params
from support.project_copy import Checkout, make_checkout
from support.stand_ins import make_project

FIRST = {"prepare voc", "embed-text voc", "cache-features voc", "hypothesise voc"}
TRAINED = {f"{job} seed 0" for job in (
    "rectify rectified", "pseudo-mask rectified", "distill distilled")}  # fmt: skip
ALL = FIRST | TRAINED | {"package distilled", "summarise tiny"}


def test_both_front_ends_make_the_same_of_a_folder(tmp_path: Path) -> None:
    """Stages that compute nothing; without labels, so without metrics, tables and figures."""
    draw(tmp_path / "photos", 3)
    project = replace(make_project(tmp_path, params()), forked=True)
    project.run("snakemake", "--cores", "2")
    assert project.ran() == ALL
    project.run("reclip", "record")
    assert "up to date" in project.run("dvc", "repro")
    shutil.copy(tmp_path / "photos/0.png", tmp_path / "photos/9.png")
    assert "photos.images 3 files" in project.run("reclip", "status")
    project.run("dvc", "repro", "--quiet")
    assert project.ran() == ALL
    assert "Nothing to be done" in project.run("snakemake", "-n")
    (tmp_path / "photos/9.png").touch()
    (tmp_path / "photos/notes.txt").write_text("no photo")
    assert "Nothing to be done" in project.run("snakemake", "-n")


def test_beside_data_sets_that_have_labels_or_are_fetched(tmp_path: Path, tiny_params) -> None:
    """Their jobs read other things, and so are of other groups in dvc.yaml."""
    draw(tmp_path / "photos", 3)
    own, added = params()["datasets"]["voc"], {"own": "rectify", "own-student": "distill"}
    runs = {run: {"dataset": "photos", "method": method} for run, method in added.items()}
    runs["own-student"]["teacher"] = "own"
    runs["fetched-query"] = {"dataset": "fetched", "method": "query"}
    datasets = {"photos": own, "fetched": {"source": {"kind": "voc"}}}
    mixed = {"datasets": datasets, "runs": {**runs, "probe": None}, "check": None}
    project = replace(make_project(tmp_path, tiny_params(mixed)), forked=True)
    project.run("dvc", "repro", "--quiet")
    ran = project.ran()
    assert {"package distill", "package own-student", "fetch fetched", "prepare photos"} <= ran
    assert "evaluate fetched-query" in ran and not {"evaluate own seed 0", "gather own"} & ran
    assert "Nothing to be done" in project.run("snakemake", "-n")
    lost = [tmp_path / "results/tiny" / path for path in ("data", "raw", "runs/own-student")]
    shutil.rmtree(lost[-1])
    project.run("reclip", "record", "--partial")
    project.run("dvc", "repro", "--quiet", "package-without-metrics@own-student")
    assert project.ran() == set()  # DVC's cache had them
    project.run("reclip", "record")
    for folder in lost:
        shutil.rmtree(folder)
    project.run("reclip", "restore")
    assert "Nothing to be done" in project.run("snakemake", "-n")


SMALL = ("rectify.epochs=2", "distill.epochs=2", "tracking.enabled=false")


@pytest.mark.slow
def test_from_twelve_scenes_to_a_model(tmp_path: Path, tiny_params, monkeypatch) -> None:
    """The commands that a person gives, for real; the settings made small."""
    monkeypatch.setenv("RECLIP_WARM", "1")  # jobs start sooner
    checkout: Checkout = make_checkout(tmp_path, tiny_params())
    draw(tmp_path / "scenes", 12)
    (tmp_path / "scenes/bad.jpg").write_bytes(b"no photo")
    with Image.open(tmp_path / "scenes/0.png") as scene:
        twelve_bits = np.asarray(scene.convert("L"), np.uint16) * 16
    Image.fromarray(twelve_bits).save(tmp_path / "scenes/0.tif")
    (tmp_path / "scenes/0.png").unlink()
    changes = (option for change in SMALL for option in ("--set", change))
    said = checkout.run(
        "reclip", "init", "folder", "--images", "scenes", "--classes", ", ".join(NAMES),
        "--clip", "mini-clip", "--output", "own.yaml", *changes,
    )  # fmt: skip
    assert "13 photos of about 56×48 pixels; 20 classes" in said
    own = ("--config", "params=own.yaml")
    said = checkout.run("snakemake", "--cores", "2", *own)
    assert said.count("warning: 'scenes/0.tif' has 16 bits, but its brightest pixel has ") == 1
    results = tmp_path / "results/scenes"
    data = DataSet(results / "data/photos")
    assert (len(data.items("train")), len(data.items("val"))) == (12, 0)
    masks = results / "runs/rectified/pseudo-mask/seed-0"
    assert {p.stem for p in masks.glob("*.png")} == {item.id for item in data.items("train")}
    assert (results / "runs/distilled/distill/seed-0/weights.safetensors").is_file()
    assert (results / "runs/distilled/model/model.safetensors").is_file()
    summary = read_json(results / "summary/summary.json")["photos"]
    assert (summary["photos"], summary["left_out"]) == (12, ["scenes/bad.jpg"])
    assert not list(results.rglob("metrics.json")) and not (results / "tables").exists()
    assert "Nothing to be done" in checkout.run("snakemake", "-n", *own)
    status = checkout.run("reclip", "status", "--params", "own.yaml").splitlines()
    assert {line.split()[0] for line in status[:-1]} == {"fresh", "aside", "warning"}, status
