from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from reclip.common.errors import ReclipError
from reclip.distill.deeplab import DeepLabV2, HeadKind, SegmentationHead, Student

CLASSES, DIM = 5, 16
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16], "stem_type": "deep", "stem_width": 8}


def tiny_head(kind: str) -> SegmentationHead:
    generator = torch.Generator().manual_seed(1)
    w_q = F.normalize(torch.randn(CLASSES, DIM, generator=generator), dim=1)
    w_r = torch.randn(CLASSES, DIM, generator=generator) * 0.1
    positional = torch.randn(1, 3, 3, generator=generator)
    return SegmentationHead(
        kind, CLASSES, DIM, w_q=w_q, w_r=w_r, positional=positional, logit_scale=10.0
    )


def tiny_student(kind: str = "query_reference") -> Student:
    torch.manual_seed(0)
    return Student(DeepLabV2("resnet18", DIM, backbone_args=TINY), tiny_head(kind)).eval()


def images(batch: int = 2, height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(2))


def test_features_have_stride_8_and_both_signs() -> None:
    feature = tiny_student().deeplab(images())
    assert feature.shape == (2, DIM, 5, 7)
    assert (feature < 0).any()
    torch.manual_seed(0)
    official = DeepLabV2("resnet18", DIM, backbone_args=TINY, branch_relu=True).eval()
    assert (official(images()) >= 0).all()


def test_aspp_is_the_sum_of_four_dilated_branches() -> None:
    deeplab = tiny_student().deeplab
    assert [branch[0].dilation for branch in deeplab.branches] == [
        (6, 6),
        (12, 12),
        (18, 18),
        (24, 24),
    ]
    x = deeplab.backbone(images())[-1]
    expected = sum(branch(x) for branch in deeplab.branches)
    torch.testing.assert_close(deeplab(images()), expected)


@pytest.mark.parametrize("kind", get_args(HeadKind))
def test_heads(kind: str) -> None:
    student = tiny_student(kind)
    logits, unit = student(images())
    assert logits.shape == (2, CLASSES, 5, 7)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(2, 5, 7))
    trainable = [name for name, _ in student.head.named_parameters()]
    if kind == "classifier":
        assert trainable == ["classifier.weight", "classifier.bias"]
        assert student.head.logit_scale == 1.0
        torch.testing.assert_close(
            logits, student.head.classifier(student.deeplab(images())), atol=1e-5, rtol=1e-5
        )
        return
    assert trainable == []
    assert student.head.logit_scale == 10.0
    generator = torch.Generator().manual_seed(1)
    w_q = F.normalize(torch.randn(CLASSES, DIM, generator=generator), dim=1)
    w_r = torch.randn(CLASSES, DIM, generator=generator) * 0.1
    m_p = torch.randn(1, 3, 3, generator=generator)
    expected = torch.einsum("bdhw,cd->bchw", unit, w_q)
    if "reference" in kind:
        expected = expected - torch.einsum("bdhw,cd->bchw", unit, w_r)
    if "positional" in kind:
        expected = expected - F.interpolate(m_p[None], size=(5, 7), mode="bilinear")
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_head_does_not_share_memory_with_the_teacher() -> None:
    w_q = torch.zeros(CLASSES, DIM, requires_grad=True)
    head = SegmentationHead("query", CLASSES, DIM, w_q=w_q)
    with torch.no_grad():
        w_q += 1
    assert head.weight.abs().max() == 0
    assert not head.weight.requires_grad


def test_a_missing_tensor_and_an_unknown_head_are_errors() -> None:
    with pytest.raises(ValueError, match="w_r"):
        SegmentationHead("query_reference", CLASSES, DIM, w_q=torch.zeros(CLASSES, DIM))
    with pytest.raises(ReclipError, match="query_reference_positional"):
        SegmentationHead("queries", CLASSES, DIM)


@pytest.mark.parametrize("kind", get_args(HeadKind))
def test_save_and_load_give_the_same_student(kind: str, tmp_path: Path) -> None:
    student = tiny_student(kind)
    student.save(tmp_path / "a.safetensors")
    loaded = Student.load(tmp_path / "a.safetensors")
    assert not loaded.training
    with torch.no_grad():
        for ours, theirs in zip(student(images()), loaded(images()), strict=True):
            assert torch.equal(ours, theirs)
    assert loaded.head.logit_scale == student.head.logit_scale
    loaded.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_load_says_what_is_wrong(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("not a tensor file")
    for name in ("other", "text", "absent"):
        with pytest.raises(ReclipError, match=f"{name}.safetensors is not a saved student"):
            Student.load(tmp_path / f"{name}.safetensors")


def test_backbone_starts_from_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = timm.create_model("resnet18", output_stride=8, **TINY)
    torch.save(source.state_dict(), tmp_path / "resnet.pth")
    deeplab = DeepLabV2("resnet18", DIM, backbone_args=TINY, checkpoint=tmp_path / "resnet.pth")
    for name, value in deeplab.backbone.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name
