"""The student in bfloat16: its convolutions alone; head, losses and statistics are float32."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from reclip.config.models import DistillSettings
from reclip.distill import deeplab as module
from reclip.distill import learn
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.training.share import Share, draw

CLASSES, DIM, SIZE, PATCH = 3, 12, 72, 18
SETTINGS = DistillSettings(feature_resolution="grid")


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(1)), dim=1)


TEXTS = unit(CLASSES, DIM)


def new_student(precision: str) -> Student:
    torch.manual_seed(0)
    backbone = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
    head = SegmentationHead("query_reference", CLASSES, DIM, w_q=TEXTS, w_r=0.1 * TEXTS)
    student = Student(DeepLabV2("resnet18", DIM, backbone_args=backbone), head).train()
    student.deeplab.precision = precision
    return student


def losses(student: Student) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    batch = learn.Batch(
        torch.randn(4, 3, SIZE, SIZE, generator=generator),
        torch.randint(0, CLASSES, (4, SIZE, SIZE), generator=generator),
        unit(4, DIM, SIZE // PATCH, SIZE // PATCH),
        torch.ones(4, CLASSES, dtype=torch.bool),
    )
    noise = draw(4, learn.noise_of(batch), torch.Generator().manual_seed(0))
    share = Share(4, noise=noise)
    return learn.losses(student, TEXTS, batch, share, SETTINGS, PATCH)


class Types(TorchFunctionMode):
    """Collects the types of floating tensors that each function returns, by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, set[torch.dtype]] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_floating_point():
            self.found.setdefault(func.__name__, set()).add(out.dtype)
        return out


def test_only_the_network_computes_in_bfloat16() -> None:
    student, seen = new_student("bfloat16"), {}
    for name, layer in student.deeplab.backbone.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda _, __, out, name=name: seen.update({name: out.dtype})
            )
    with Types() as types:
        terms = losses(student)
    sum(terms.values()).backward()
    assert len(seen) > 5 and set(seen.values()) == {torch.bfloat16}
    for name in ("normalize", "cross_entropy", "interpolate", "softmax", "exp"):
        assert types.found.get(name, {torch.float32}) == {torch.float32}, name
    assert types.found["normalize"] and types.found["cross_entropy"]
    assert all(term.dtype == torch.float32 for term in terms.values())
    assert {p.grad.dtype for p in student.parameters()} == {torch.float32}
    logits, feature = student(torch.randn(1, 3, SIZE, SIZE))
    assert logits.dtype == feature.dtype == torch.float32


def test_losses_and_gradients_are_near_those_of_float32() -> None:
    plain, fast = (new_student(name) for name in ("float32", "bfloat16"))
    wanted, found = losses(plain), losses(fast)
    sum(wanted.values()).backward()
    sum(found.values()).backward()
    for name, term in wanted.items():
        assert 0 < abs(float(found[name].detach() / term.detach()) - 1) < 0.05, name
    for one, other in zip(plain.deeplab.branches.parameters(), fast.deeplab.branches.parameters(),
                          strict=True):  # fmt: skip
        assert F.cosine_similarity(one.grad.flatten(), other.grad.flatten(), dim=0) > 0.95


def test_batch_statistics_are_those_of_float32() -> None:
    """In bfloat16 a mean of 1,000 values would be off by far more."""
    x = (100 + torch.randn(8, 4, 24, 24)).bfloat16()
    reduced, plain = nn.BatchNorm2d(4, momentum=1.0), nn.BatchNorm2d(4, momentum=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        out = reduced(x)
    plain(x.float())
    assert reduced.running_mean.dtype == torch.float32 and out.dtype == torch.bfloat16
    torch.testing.assert_close(reduced.running_mean, plain.running_mean, rtol=1e-5, atol=0)
    torch.testing.assert_close(reduced.running_var, plain.running_var, rtol=1e-3, atol=0)


@pytest.mark.parametrize("rate", [2, 6])
def test_a_wide_convolution_in_parts_is_the_whole_one(monkeypatch, rate: int) -> None:
    monkeypatch.setattr(module, "SPLIT_CHANNELS", 8)
    torch.manual_seed(0)
    conv = nn.Conv2d(20, 5, 3, padding=rate, dilation=rate, bias=False)
    branch = nn.Sequential(conv, nn.Identity())
    x = torch.randn(2, 20, 9, 9).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = module._branch(branch, x)
    wanted = F.conv2d(x.float(), conv.weight, padding=rate, dilation=rate)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.02)
    plain = x.float()
    assert torch.equal(module._branch(branch, plain), conv(plain))


def test_a_saved_student_does_not_hold_its_precision(tmp_path) -> None:
    plain, fast = new_student("float32"), new_student("bfloat16")
    for name, student in {"a": plain, "b": fast}.items():
        student.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert Student.load(tmp_path / "b").deeplab.precision == "float32"
    assert copy.deepcopy(fast).deeplab.precision == "bfloat16"
