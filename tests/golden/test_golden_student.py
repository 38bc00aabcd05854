"""The student and the metric against numbers of the official code on seeded random weights."""

from __future__ import annotations

import importlib.util
import io
import json
import tarfile
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.evaluate.counts import Counts
from reclip.evaluate.metrics import iou, miou, pixel_accuracy
from support.needs import VOC, needs_voc
from support.paths import SHARED

GOLDEN = SHARED / "golden"

pytestmark = pytest.mark.skipif(
    not GOLDEN.exists(), reason=f"not redistributed: put the golden numbers at {GOLDEN}"
)


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "golden_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "student.npz"))


def our_name(official: str) -> str | None:
    """Name in `Student` of an official parameter; None for the unused classifier."""
    module, _, leaf = official.rpartition(".")
    parts = module.split(".")
    if parts[-1] == "conv_seg":
        return None
    if "aspp_modules" in parts:
        layer = {"conv": 0, "norm": 1}[parts[-1]]
        return f"deeplab.branches.{parts[3]}.{layer}.{leaf}"
    if parts[1] == "stem":
        stem = "bn1" if parts[2] == "7" else f"conv1.{parts[2]}"
        return f"deeplab.backbone.{stem}.{leaf}"
    stage, block, *rest = parts[2:]
    inner = ".".join(rest).replace("norm", "bn")
    return f"deeplab.backbone.layer{int(stage) + 1}.{block}.{inner}.{leaf}"


@pytest.fixture(scope="module")
def student(recipe: ModuleType) -> Student:
    text = np.load(GOLDEN / "text.npz")
    w_q = torch.from_numpy(text["query_weights"])
    w_r = torch.from_numpy(text["Wr_seeded_normalised"])
    deeplab = DeepLabV2("resnet50c", 512, branch_relu=True)
    student = Student(
        deeplab, SegmentationHead("query_reference", *w_q.shape, w_q=w_q, w_r=w_r)
    ).eval()
    official = json.loads((GOLDEN / "student_parameters.json").read_text())["parameters"]
    named = {}
    for parameter in official:
        name = our_name(parameter["name"])
        if name is not None:
            tensor = recipe.student_tensor(
                parameter["name"], parameter["shape"], parameter["kind"].startswith("bn")
            )
            named[name] = torch.from_numpy(tensor)
    assert named.keys() == dict(student.named_parameters()).keys()
    student.load_state_dict(named, strict=False)
    return student


def assert_close(actual: torch.Tensor, expected: dict[str, np.ndarray], name: str) -> None:
    values = actual.flatten().numpy()[expected[f"{name}__idx"]]
    reference = expected[f"{name}__val"]
    np.testing.assert_allclose(values, reference, rtol=1e-4, atol=1e-4 * np.abs(reference).mean())


def test_architecture_is_the_official_one(student: Student) -> None:
    official = json.loads((GOLDEN / "student_parameters.json").read_text())["convs"]
    modules = dict(student.named_modules())
    for conv in official:
        name = our_name(conv["name"] + ".weight")
        if name is None:
            continue
        ours = modules[name.removesuffix(".weight")]
        for attribute in ("stride", "padding", "dilation"):
            assert getattr(ours, attribute) == tuple(conv[attribute]), (name, attribute)
        assert (ours.bias is not None) == conv["bias"], name


def test_student_gives_the_golden_numbers(
    student: Student, recipe: ModuleType, expected: dict[str, np.ndarray]
) -> None:
    images = torch.from_numpy(recipe.student_input())
    with torch.no_grad():
        assert_close(student.deeplab.backbone(images)[-1][0], expected, "backbone_out3")
        feature = student.deeplab(images)
        assert_close(feature[0], expected, "aspp_feature")
        logits, unit = student(images)
    np.testing.assert_allclose(logits[0].numpy(), expected["seg_logits"], atol=1e-6)
    torch.testing.assert_close(unit, F.normalize(feature, dim=1))


def test_train_mode_gives_the_golden_numbers(
    student: Student, recipe: ModuleType, expected: dict[str, np.ndarray]
) -> None:
    before = {name: buffer.clone() for name, buffer in student.named_buffers()}
    backbone = student.deeplab.backbone.train()
    with torch.no_grad():
        out = backbone(torch.from_numpy(recipe.student_input()))[-1]
    student.eval().load_state_dict(before, strict=False)
    values = out.flatten().numpy()[expected["train_mode_backbone_out3__idx"]]
    # Batch statistics of one image amplify the rounding of another memory layout.
    np.testing.assert_allclose(values, expected["train_mode_backbone_out3__val"], atol=3e-3)


@needs_voc
def test_miou_of_the_official_metric(recipe: ModuleType) -> None:
    golden = json.loads((GOLDEN / "golden.json").read_text())["miou5"]
    counts = Counts(20)
    with tarfile.open(VOC) as tar:
        for image_id in golden["ids"]:
            member = tar.extractfile(f"VOCdevkit/VOC2012/SegmentationClass/{image_id}.png")
            mask = np.array(Image.open(io.BytesIO(member.read())))
            label = np.where((mask == 0) | (mask == 255), 255, mask.astype(np.int64) - 1)
            counts.update(recipe.fake_prediction(image_id, mask), label, image_id)
    np.testing.assert_allclose(np.nan_to_num(iou(counts.confusion)), golden["IoU_21_bins"][:20])
    assert miou(counts.confusion) == pytest.approx(golden["mean_as_reported_sum_over_20"])
    assert pixel_accuracy(counts.confusion) == pytest.approx(golden["aAcc"])
    in_labels = counts.confusion.sum(axis=1) > 0
    assert iou(counts.confusion)[in_labels].mean() == pytest.approx(
        golden["mean_over_classes_present"]
    )
