"""Every reader of weights refuses tensors that are not finite."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reclip.common.errors import ReclipError
from reclip.config.models import ImageSettings
from reclip.distill.backbone import create_backbone
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.inference.onnx_backend import OnnxStudent
from reclip.inference.segmenter import Segmenter
from reclip.rectify.model import Rectifier

BAD = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("value", BAD)
def test_a_rectifier_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    Rectifier(torch.full((2, 4), value)).save(tmp_path / "a.safetensors")
    with pytest.raises(ReclipError, match=r"a\.safetensors holds (NaN|infinity) in w_query"):
        Rectifier.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("value", BAD)
def test_a_student_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    deeplab = DeepLabV2("test_resnet", 4)
    student = Student(deeplab, SegmentationHead("query", 2, 4, w_q=torch.ones(2, 4)))
    with torch.no_grad():
        next(deeplab.parameters()).fill_(value)
    student.save(tmp_path / "a.safetensors")
    with pytest.raises(ReclipError, match=r"a\.safetensors holds (NaN|infinity) in deeplab\."):
        Student.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("value", BAD)
def test_a_backbone_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    torch.save({"conv1.weight": torch.full((2,), value)}, tmp_path / "a.pth")
    with pytest.raises(ReclipError, match=r"a\.pth' holds (NaN|infinity) in conv1\.weight"):
        create_backbone("resnet18", {}, 8, checkpoint=tmp_path / "a.pth")


@pytest.mark.parametrize("value", BAD)
def test_an_onnx_model_whose_logits_are_not_finite_is_refused(value: float) -> None:
    """Its weights cannot be read without the package onnx, so what it gives is looked at."""
    student = object.__new__(OnnxStudent)
    logits = np.full((1, 2, 1, 1), value, np.float32)
    student.session = SimpleNamespace(run=lambda names, inputs: [logits])
    student.cell = 8
    student.info = SimpleNamespace(run="a", palette=[(0, 0, 0)] * 2, image=ImageSettings())
    with pytest.raises(ReclipError, match="run 'a' gives values that are not finite"):
        Segmenter(student)(np.zeros((8, 8, 3), np.uint8))
