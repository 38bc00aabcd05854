"""`compute.compile` makes one graph of a step, which gives the plain step's loss and gradient.

Both compute in float64 here, so that a difference of the two steps does not hide behind rounding.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from reclip.common.errors import ReclipError
from reclip.config.models import DistillSettings, RectifySettings
from reclip.distill import learn as distillation
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.rectify import learn as rectification
from reclip.training.objective import Objective
from reclip.training.task import Task
from support.tiny_clip import tiny_clip

CLASSES, DIM, IMAGES, SIZE, PATCH = 3, 12, 4, 32, 8
NAMES = [["dog"], ["potted plant"], ["sky"]]
CLOSE = 1e-9  # in float32 the two differ by up to 3e-5 of a tensor's norm, by rounding

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
takes_a_minute = pytest.mark.skipif(
    "RECLIP_COMPILE" not in os.environ, reason="takes a minute: part of `make soak`"
)


def unit(*shape: int, dim: int) -> torch.Tensor:
    return F.normalize(torch.randn(shape, dtype=torch.float64), dim=dim)


def rectifying(model: str = "reclip") -> tuple[Task, Any]:
    torch.manual_seed(0)
    settings = RectifySettings(
        model=model, prompt_length=4, positional_hidden=(6, 4), gumbel_scale=10
    )
    clip = tiny_clip()
    clip.model.double()
    model = rectification.build_model(clip, NAMES, unit(CLASSES, DIM, dim=1), settings).double()
    valid = torch.ones(IMAGES, 5, 7, dtype=torch.bool)
    valid[0, -2:] = False
    wanted = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
    return Task(
        model,
        load=None,
        losses=lambda batch, share: rectification.losses(model, batch, share, settings),
        save=None,
        noise=torch.Generator(),
        noise_of=rectification.noise_of,
    ), rectification.Batch(unit(IMAGES, 5, 7, DIM, dim=3), valid, wanted)


def distilling() -> tuple[Task, Any]:
    torch.manual_seed(0)
    backbone = {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}
    backbone |= {"stem_type": "deep", "stem_width": 4}
    texts = unit(CLASSES, DIM, dim=1)
    head = SegmentationHead(
        "query_reference", CLASSES, DIM, w_q=texts, w_r=0.3 * unit(CLASSES, DIM, dim=1)
    )
    student = Student(DeepLabV2("resnet18", DIM, backbone_args=backbone), head).double()
    settings = DistillSettings(gumbel_scale=10, logit_scale=30)
    batch = distillation.Batch(
        torch.randn(IMAGES, 3, SIZE, SIZE, dtype=torch.float64),
        torch.randint(0, CLASSES, (IMAGES, SIZE, SIZE)),
        unit(IMAGES, DIM, SIZE // PATCH, SIZE // PATCH, dim=1),
        torch.ones(IMAGES, CLASSES, dtype=torch.bool),
    )
    return Task(
        student,
        load=None,
        losses=lambda given, share: distillation.losses(
            student, texts, given, share, settings, PATCH
        ),
        save=None,
        noise=torch.Generator(),
        noise_of=distillation.noise_of,
    ), batch


def step(task: Task, batch: Any, *, compiled: bool) -> tuple[dict, dict, dict]:
    """Return losses, gradients and running statistics of one step from the same start."""
    start = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    task.noise.manual_seed(1)
    task.model.train().zero_grad(set_to_none=True)
    losses = Objective(task, compiled=compiled).backward(IMAGES, [(slice(0, IMAGES), batch, {})])
    gradients = {name: p.grad for name, p in task.model.named_parameters()}
    buffers = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    task.model.load_state_dict(start)
    return losses, gradients, buffers


@needs_compiler
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(rectifying, id="rectify"),
        pytest.param(lambda: rectifying("reclip++"), id="plus", marks=takes_a_minute),
        pytest.param(distilling, id="distill", marks=takes_a_minute),
    ],
)
def test_the_compiled_step_is_the_plain_one(make) -> None:
    task, batch = make()
    plain, compiled = (step(task, batch, compiled=compiled) for compiled in (False, True))
    for wanted, found in zip(plain, compiled, strict=True):
        assert wanted.keys() == found.keys() and wanted
        for name, value in wanted.items():
            assert (found[name] - value).double().norm() <= CLOSE * max(
                value.double().norm(), 1e-3
            ), name


def test_parts_of_batches_are_not_compiled() -> None:
    task, _ = rectifying()
    with pytest.raises(ReclipError, match=r"compute\.compile is for whole batches"):
        Objective(task, compiled=True, micro_batch=2)
