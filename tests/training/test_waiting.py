"""A training step never waits for its device: nothing of it is read but the losses of many steps.

torch's device `meta` stands in for a GPU. Its tensors have shapes and no data. So to read one, or
to copy one to the CPU, is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reclip.clip.architecture import architecture
from reclip.clip.load import Clip
from reclip.config.models import ClipSettings, DistillSettings, RectifySettings
from reclip.data.layouts.class_names import VOC_CLASSES
from reclip.device import deterministic
from reclip.distill import learn as distillation
from reclip.distill import losses as distillation_losses
from reclip.rectify import learn as rectification
from reclip.rectify.model import Rectifier
from reclip.training import loop, objective, pending
from reclip.training.checkpoint import Checkpoint
from reclip.training.task import Task

DEVICE = torch.device("meta")
SIDE, PATCH, DIM, BATCH = 336, 16, 512, 16
CELLS, CLASSES = SIDE // PATCH, len(VOC_CLASSES)
STEPS = 3


class Copies(TorchDispatchMode):
    """Counts the tensors that are copied to the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        before, after = (
            {x.device.type for x in tree_leaves(found) if isinstance(x, torch.Tensor) and x.dim()}
            for found in ((args, kwargs), out)
        )
        self.count += "cpu" in before and after == {DEVICE.type}
        return out


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[Copies]:
    deterministic()
    monkeypatch.setattr(pending, "STEPS", 2)
    monkeypatch.setattr(pending, "SECONDS", float("inf"))
    monkeypatch.setattr(  # this device has no generator
        objective,
        "draw",
        lambda images, shape, _: torch.empty(images, *shape, device=DEVICE).exponential_(),
    )
    with Copies() as counted:
        yield counted


def clip_without_weights() -> Clip:
    with DEVICE:
        model = CLIP(**architecture(ClipSettings(model="ViT-B-16"), (), None).config)
    return Clip(model, SimpleTokenizer(), (), ())


def rectifying(**changes: Any) -> Task:
    settings = RectifySettings(**changes)
    with DEVICE:
        query = torch.empty(CLASSES, DIM)
        model = rectification.build_model(clip_without_weights(), VOC_CLASSES, query, settings)

    def load(epoch: int, rows: np.ndarray) -> rectification.Batch:
        cells = len(rows), CELLS, CELLS
        valid, wanted = torch.ones(cells).bool(), torch.ones(len(rows), CLASSES).bool()
        return rectification.Batch(torch.empty(*cells, DIM), valid, wanted)

    return Task(
        model,
        load,
        lambda batch, share: rectification.losses(model, batch, share, settings),
        save=lambda path: path.touch(),
        noise=torch.Generator(),
        noise_of=rectification.noise_of,
    )


def distilling(**changes: Any) -> Task:
    settings = DistillSettings(pretrained=False, **changes)
    with DEVICE:
        texts = torch.empty(CLASSES, DIM)
        student = distillation.build_student(Rectifier(texts, texts), CELLS, settings)

    def load(epoch: int, rows: np.ndarray) -> distillation.Batch:
        n = len(rows)
        images, labels = torch.empty(n, 3, SIDE, SIDE), torch.ones(n, SIDE, SIDE).long()
        z, wanted = torch.empty(n, DIM, CELLS, CELLS), torch.ones(n, CLASSES).bool()
        return distillation.Batch(images, labels, z, wanted)

    return Task(
        student,
        load,
        lambda batch, share: distillation.losses(student, texts, batch, share, settings, PATCH),
        save=lambda path: path.touch(),
        counts=lambda batch: distillation_losses.counts(batch.labels, settings),
        noise=torch.Generator(),
        noise_of=distillation.noise_of,
    )


def train(task: Task, settings: Any, folder: Path) -> None:
    loop.train(
        task,
        settings.model_copy(update={"epochs": 1, "batch": BATCH}),
        count=STEPS * BATCH,
        seed=0,
        checkpoint=Checkpoint(folder / "weights", "digest", every_seconds=float("inf")),
        curve_file=folder / "curve.csv",
        held_out=folder / "held-out.csv",
        label="test",
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let losses be read; return a list that collects the number of steps in each reading."""
    readings: list[int] = []

    def read(values: torch.Tensor) -> list[list[float]]:
        readings.append(len(values))
        return [[1.0] * values.shape[1]] * len(values)

    monkeypatch.setattr(pending, "_from_device", read)
    return readings


@pytest.mark.parametrize("changes", [{}, {"model": "reclip++"}, {"learn_query": True}], ids=str)
def test_rectification_of_a_vit_b16_reads_its_losses_alone(
    copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    readings = counted(monkeypatch)
    task = rectifying(**changes)
    copies.count = 0
    train(task, RectifySettings(), tmp_path)
    assert readings == [2, 1]
    assert copies.count == STEPS * len(rectification.Batch._fields)


@pytest.mark.parametrize("resolution", ["grid", "image"])
def test_distillation_reads_its_losses_alone(
    copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resolution: str
) -> None:
    readings = counted(monkeypatch)
    task = distilling(feature_resolution=resolution)
    copies.count = 0
    train(task, DistillSettings(), tmp_path)
    assert readings == [2, 1]
    assert copies.count == STEPS * len(distillation.Batch._fields)


def test_a_reading_in_a_step_would_be_seen(copies: Copies, tmp_path: Path) -> None:
    task = rectifying()
    losses = task.losses

    def reads(batch: rectification.Batch, share: Any) -> dict[str, torch.Tensor]:
        found = losses(batch, share)
        float(found["contrastive"])
        return found

    task.losses = reads
    with pytest.raises(RuntimeError, match="meta"):
        train(task, RectifySettings(), tmp_path)


@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="no GPU: only CUDA itself can tell that it waited. The tests above forbid every reading "
    "of a value on a device without data, on any machine",
)
def test_a_gpu_says_that_it_was_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    deterministic()
    monkeypatch.setitem(globals(), "DEVICE", torch.device("cuda"))
    task = rectifying()
    task.noise = torch.Generator("cuda")
    parts = [(slice(0, BATCH), task.load(0, np.arange(BATCH)), {})]
    step = objective.Objective(task)
    step.backward(BATCH, parts)  # the first call chooses kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        step.backward(BATCH, parts)
    finally:
        torch.cuda.set_sync_debug_mode("default")
