"""A packaged model: weights, description and card."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import get_args

import pytest
import yaml

from reclip.common.files import read_json
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.config.sources import Source
from reclip.data.index import DataSet
from reclip.distill.deeplab import Student
from reclip.inference.card import PHOTOS, model_card, sources_of
from reclip.inference.model_info import read_folder
from reclip.pipeline.plan import Plan
from reclip.rectify.model import Rectifier
from reclip.stages.package import clip_sha256, describe
from support.at_the_shell import reclip

FILES = {"model.safetensors", "model.json", "README.md", "receipt.json"}


def test_the_weights_are_from_the_first_seed(trained: Path, student: Path, rectified: Path) -> None:
    for folder, stage in ((student, "distill"), (rectified, "rectify")):
        assert {path.name for path in folder.iterdir()} == FILES
        first = folder.parent / stage / "seed-0/weights.safetensors"
        assert (folder / "model.safetensors").read_bytes() == first.read_bytes()
    Student.load(student / "model.safetensors")
    Rectifier.load(rectified / "model.safetensors")


def test_the_description_of_a_student(student: Path) -> None:
    info = read_folder(student)
    assert (info.kind, info.run, info.experiment, info.seed) == ("student", "distill", "tiny", 0)
    assert info.class_names[0] == "red stripes" and len(info.palette) == len(info.classes) == 20
    assert (info.stride, info.logit_scale, info.clip) == (8, 30.0, None)
    trained = read_json(student.parent / "distill/seed-0/receipt.json")
    assert info.digest == trained["digest"]


def test_the_description_of_a_rectified_clip(rectified: Path) -> None:
    info = read_folder(rectified)
    assert info.clip.settings.model == "mini-clip" and len(info.clip.sha256) == 64
    assert (info.stride, info.logit_scale) == (None, 100.0)


def test_the_card_is_complete(student: Path, rectified: Path) -> None:
    card = (student / "README.md").read_text()
    metrics = read_json(student.parent / "metrics.json")
    for words in (
        f"mIoU {metrics['seeds'][0]['miou']:.1f}%", "4 labelled photos", "whole, own size",
        "6 training photos", "reclip predict", "reclip export", "reclip.Segmenter.load",
        "| 0 | red stripes |", "Nobody labelled", "Not for decisions about people",
        "mini-clip", "MIT licence", "random numbers", "test_resnet", "Teacher: run `ref-pe`",
    ):  # fmt: skip
        assert words in card, words
    other = (rectified / "README.md").read_text()
    assert "seed 0, the first of 2 seeds, not the best" in other and "reclip export" not in other
    here = (str(Path.cwd()), socket.gethostname(), str(Path.home()))
    for text in (card, other, (student / "model.json").read_text()):
        assert not any(name in text for name in here)


def test_the_card_says_that_only_the_scored_masks_were_refined(
    trained: Path, student: Path, rectified: Path
) -> None:
    """A packaged model does not refine, and its settings hold nothing of PAMR."""
    params = yaml.safe_load((trained / "params.yaml").read_text())
    params["evaluate"] = {"prompt_denoising": True, "pamr": 10}
    with contextlib.chdir(trained):
        cards = {}
        for run, folder in (("distill", student), ("ref-pe", rectified)):
            job = Plan(validate(Params, params)).job("package", run)
            metrics = read_json(folder.parent / "metrics.json")
            data = DataSet(job.inputs["data"].folder)
            info = describe(job, data, folder / "model.safetensors")
            cards[run] = model_card(info, job, data.facts, metrics)
    assert info.denoising.prompt_denoising and not hasattr(info.denoising, "pamr")
    assert "PAMR, 10 iterations" in cards["ref-pe"] and "without PAMR" in cards["ref-pe"]
    cards["plain"] = (rectified / "README.md").read_text()
    assert not any("PAMR" in cards[name] for name in ("distill", "plain"))


def test_without_labels_the_card_has_no_scores(trained: Path) -> None:
    with contextlib.chdir(trained):
        job = Plan.load().job("package", "distill")
        facts = {"lists": "the files in 'photos'", "counts": {"train": 7, "val": 0}}
        card = model_card(read_folder(job.folder), job, facts, None)
    assert "Not known: the dataset has no labels" in card and "IoU, %" not in card


def test_the_same_settings_give_the_same_bytes(trained: Path, student: Path) -> None:
    before = {path.name: path.read_bytes() for path in student.iterdir()}
    with contextlib.chdir(trained):
        assert reclip("package", "--run", "distill").out == "package distill: up to date\n"
        assert reclip("package", "--run", "distill", "--force").code == 0
    assert {path.name: path.read_bytes() for path in student.iterdir()} == before


def test_students_are_packaged_and_rectified_clips_on_demand(tiny_plan) -> None:
    plan = tiny_plan({"check": None})
    packaged = [job.id for job in plan.default_jobs if job.stage == "package"]
    assert packaged == ["distill"]
    assert plan.ids("package") == ["ref-pe", "distill"]


@pytest.mark.parametrize(
    ("clip", "distill", "words"),
    [
        ({"model": "ViT-B-16", "pretrained": "openai"}, {}, ["OpenAI's ViT-B-16", "MIT licence"]),
        (
            {"model": "ViT-B-32", "pretrained": "laion2b_e16"},
            {},
            ["laion2b_e16", "licence is not known"],
        ),
        ({"model": "ViT-L-14", "pretrained": "metaclip_400m"}, {}, ["tag metaclip_400m", "BY-NC"]),
        ({}, {"pretrained": True}, ["timm's pretrained weights", "non-commercial research"]),
    ],
)
def test_sources_have_their_licences(tiny_plan, trained: Path, clip, distill, words) -> None:
    """The weights' files are not needed: the settings name them."""
    job = tiny_plan({"clip": clip, "distill": distill}).job("package", "distill")
    text = " ".join(sources_of(job.settings))
    assert all(word in text for word in words), text
    if clip.get("pretrained") == "openai":
        assert clip_sha256(job.settings).startswith("5806e77cd80f8b59")
    elif clip:
        assert clip_sha256(job.settings) is None


def test_photos_of_every_kind_of_source_have_their_licence() -> None:
    kinds = {get_args(model.model_fields["kind"].annotation)[0] for model in get_args(Source)}
    assert set(PHOTOS) == kinds


def test_the_card_hides_the_path_of_a_checkpoint(trained: Path, student: Path) -> None:
    """The path would name folders of the person who trained the model."""
    with contextlib.chdir(trained):
        job = Plan.load().job("package", "distill")
        secret = job.settings["trained"].model_copy(update={"checkpoint": "/home/ann/x.pth"})
        job.settings["trained"] = secret
        facts = {"lists": "drawn", "counts": {"train": 7}}
        assert "/home/ann" not in model_card(read_folder(job.folder), job, facts, None)


def test_the_description_reads_back_from_json(student: Path) -> None:
    text = (student / "model.json").read_text()
    info = read_folder(student)
    assert info.parse(text, "x") == info == info.parse(info.model_dump_json(), "x")
    assert json.loads(text)["format"] == "reclip-model-1"
    assert callable(describe)
