"""mini-backbone, the stand-in for ImageNet's weights: its training, its file and its card."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from reclip.config.models import DistillSettings
from reclip.data.world.objects import OBJECT_CLASSES, draw_object
from reclip.data.world.scenes import WORLDS, scene_rng
from reclip.distill.backbone import create_backbone
from reclip.distill.deeplab import DeepLabV2
from reclip.distill.pretrain import (
    BACKBONE,
    BACKBONE_ARGS,
    PretrainSettings,
    _draw,
    accuracy,
    pretrain,
)
from reclip.weights.identity import MINI_BACKBONE, backbone_sha256, describe_backbone

ASSETS = Path(str(files("reclip") / "assets"))
FEW = PretrainSettings(objects=32, held_out=16, epochs=1, batch=16)


@pytest.fixture(scope="module")
def card() -> dict:
    return json.loads((ASSETS / "mini-backbone.json").read_text())


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(FEW, tmp_path / name, seed=seed, threads=1)
    a, b, c = ((tmp_path / n / "mini-backbone.safetensors").read_bytes() for n in "abc")
    assert a == b != c
    endings = ("json", "log", "safetensors")
    made = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert made == [f"mini-backbone.{ending}" for ending in endings]


def test_no_class_of_the_objects_is_a_class_of_the_datasets() -> None:
    assert len(set(OBJECT_CLASSES)) == 72
    assert not set(OBJECT_CLASSES) & set(WORLDS["ade"].class_names)


def test_an_object_is_drawn_again_from_its_number_alone() -> None:
    image, label = draw_object(scene_rng(3, "objects", 5), 48)
    again, same = draw_object(scene_rng(3, "objects", 5), 48)
    assert image.shape == (48, 48, 3) and image.dtype == np.uint8
    assert (image == again).all() and label == same
    labels = {draw_object(scene_rng(3, "objects", i), 16)[1] for i in range(600)}
    assert labels == set(range(72))


def test_packaged_weights_match_the_card(card: dict) -> None:
    path = ASSETS / "mini-backbone.safetensors"
    assert path.stat().st_size < 3_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card["sha256"]
    assert (card["backbone"], card["backbone_args"]) == (BACKBONE, BACKBONE_ARGS)


def test_packaged_weights_are_as_accurate_as_the_card_says(card: dict) -> None:
    model = timm.create_model(BACKBONE, num_classes=72, **BACKBONE_ARGS)
    model.load_state_dict(load_file(ASSETS / "mini-backbone.safetensors"))
    measured = accuracy(model, *_draw("other objects", 300, 48, seed=1))
    assert measured == pytest.approx(card["accuracy"], abs=0.07)


def test_a_student_starts_from_the_packaged_weights() -> None:
    wanted = load_file(ASSETS / "mini-backbone.safetensors")
    student = DeepLabV2(
        BACKBONE, 64, backbone_args=BACKBONE_ARGS, pretrained=False, checkpoint=MINI_BACKBONE
    )
    found = student.backbone.state_dict()
    assert found.keys() == wanted.keys() - {"fc.weight", "fc.bias"}
    assert all(torch.equal(found[name], wanted[name]) for name in found)
    alone = create_backbone(BACKBONE, BACKBONE_ARGS, 8, checkpoint=MINI_BACKBONE)
    assert torch.equal(alone.state_dict()["conv1.0.weight"], wanted["conv1.0.weight"])


def test_receipts_and_tables_name_the_packaged_weights(card: dict) -> None:
    settings = DistillSettings(backbone=BACKBONE, checkpoint=MINI_BACKBONE)
    assert backbone_sha256(settings) == card["sha256"]
    assert describe_backbone(settings) == (
        "The student's backbone, resnet18, starts from the packaged mini-backbone, which was "
        "taught to name single drawn objects."
    )
