"""Rates of the machine at hand, measured in some seconds on what the settings would run.

Random weights and a made-up photo do: time does not depend on what the numbers are.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from open_clip.transformer import ResidualAttentionBlock
from PIL import Image
from torch import nn
from torch.nn import functional

from reclip.common.errors import ReclipError
from reclip.cost import flops
from reclip.cost.known import Known
from reclip.cost.machines import Rates
from reclip.cost.student import student_shape
from reclip.data.images import read_image
from reclip.data.views import crop_image, draw_view, normalise
from reclip.device import setup
from reclip.distill.deeplab import OUTPUT_STRIDE, DeepLabV2

SECONDS = 1.0  # that a measurement repeats itself for
LONG = 4.0  # seconds after which a measurement is not repeated
BLOCKS = 2  # of the image tower: enough to leave the caches as twelve do
STUDENT_FLOPS = 1.5e11  # a step of the student is cut down to about this, a second or two of a core
DISK_BYTES = 2**26


def calibrate(known: Known, dataset: str) -> Rates:
    """Measure as the jobs of a dataset would compute; a file in the current folder comes and goes.

    Raises ReclipError: the device is not there, or nothing can be written.
    """
    device = setup(known.plan.params.compute)
    write, read = _disk()
    return Rates(
        matmul=_blocks(known, dataset, device),
        conv=_student(known, dataset, device),
        resize=_resize(known, dataset, device),
        operations=_operations(device),
        megapixels=_photos(known, dataset),
        read=read,
        write=write,
        overlap=device.type == "cuda",
    )


def _per_second(run: Callable[[], object], device: torch.device | None = None) -> float:
    """How often `run` goes into a second; a first time counts only if it takes long by itself."""

    def timed() -> float:
        began = time.perf_counter()
        run()
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    first = timed()
    if first > LONG:
        return 1 / first
    times = [timed()]
    while sum(times) < SECONDS:
        times.append(timed())
    return len(times) / sum(times)


def _blocks(known: Known, dataset: str, device: torch.device) -> float:
    """FLOP/s of blocks of the image tower on the tokens of a view."""
    tower, tokens = known.clip.image, known.view_cells(dataset) + 1
    ratio = tower.hidden / tower.width
    blocks = nn.Sequential(
        *(ResidualAttentionBlock(tower.width, tower.heads, ratio) for _ in range(BLOCKS))
    )
    blocks = blocks.to(device).eval()
    x = torch.randn(1, tokens, tower.width, device=device)
    with torch.inference_mode():
        return BLOCKS * flops.block(tokens, tower) * _per_second(lambda: blocks(x), device)


def _student(known: Known, dataset: str, device: torch.device) -> float:
    """FLOP/s of forward and backward of the student, on a part of a batch or of a view."""
    settings, crop = known.plan.experiment.section(dataset, "distill"), known.views(dataset).crop
    shape = (settings.backbone, settings.backbone_args, known.clip.dim)
    one = student_shape(*shape, crop).train
    batch = max(1, min(settings.batch, round(STUDENT_FLOPS / one)))
    if one > STUDENT_FLOPS:
        cells = max(8, round(math.sqrt(STUDENT_FLOPS / one) * crop / OUTPUT_STRIDE))
        crop = min(crop, cells * OUTPUT_STRIDE)
    net = DeepLabV2(settings.backbone, known.clip.dim, backbone_args=settings.backbone_args)
    net = net.to(device).train()
    images = torch.randn(batch, 3, crop, crop, device=device)

    def step() -> None:
        net.zero_grad(set_to_none=True)
        net(images).mean().backward()

    return batch * student_shape(*shape, crop).train * _per_second(step, device)


def _resize(known: Known, dataset: str, device: torch.device) -> float:
    """Values/s of resizing logits to pixels and taking the best class."""
    crop, patch = known.views(dataset).crop, known.clip.patch
    side = flops.grid(crop, crop, patch)
    logits = torch.randn(1, known.census[dataset].classes, *side, device=device)
    size = tuple(patch * cells for cells in side)

    def run() -> torch.Tensor:
        return functional.interpolate(logits, size, mode="bilinear").argmax(1)

    with torch.inference_mode():
        return logits.shape[1] * math.prod(size) * _per_second(run, device)


def _operations(device: torch.device) -> float:
    """Small operations a second, in a chain as long as a training step's is deep."""
    x = torch.ones(64, 64, device=device)

    def chain() -> None:
        y = x
        for _ in range(100):
            y = torch.tanh(y)

    return 100 * _per_second(chain, device)


def _photos(known: Known, dataset: str) -> float:
    """Megapixels/s of decoding a JPEG, and of cutting and colouring a view of it."""
    height, width = next(iter(known.census[dataset].sizes["train"]))
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    photo = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    views, image = known.views(dataset), known.plan.experiment.section(dataset, "image")
    view = draw_view("photo", height, width, 0, views, image)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        photo.save(path, quality=95)
        norm = known.plan.experiment.clip.norm
        rate = _per_second(lambda: normalise(crop_image(read_image(path), view), norm))
    return math.prod(view.size) / 1e6 * rate


def _disk() -> tuple[float, float]:
    """Bytes/s written to and read from the disk under the current folder, past its cache."""
    data = np.random.default_rng(0).bytes(DISK_BYTES)
    try:
        with tempfile.TemporaryFile(dir=".") as file:
            began = time.perf_counter()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            written = time.perf_counter()
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            began_reading = time.perf_counter()
            file.read()
            done = time.perf_counter()
    except OSError as error:
        raise ReclipError(
            f"nothing can be written in the current folder ({error}): measure the machine "
            f"elsewhere, or add --no-calibrate"
        ) from error
    return DISK_BYTES / (written - began), DISK_BYTES / (done - began_reading)
