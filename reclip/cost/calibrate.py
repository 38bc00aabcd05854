"""Measure this machine's rates in some seconds, on the operations that the settings would run.

Random weights and a random photo are enough: computing time does not depend on the values.
"""

from __future__ import annotations

import copy
import json
import math
import os
import tempfile
import time
import timeit
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.cost import flops, meta
from reclip.cost.facts import Facts
from reclip.cost.machines import Rates
from reclip.data.images import read_image
from reclip.data.resize_maps import resize
from reclip.data.views import crop_image, draw_view, normalise
from reclip.device import precision, setup
from reclip.device.precision import Precision, autocast, round_weights
from reclip.distill import OUTPUT_STRIDE
from reclip.distill.deeplab import DeepLabV2

BLOCKS = 2  # of the image tower: they fill the CPU's caches as the whole tower does
STUDENT_FLOPS = 1.5e11  # size of the student's step here: a second or two on one core
DISK_BYTES = 2**26


def calibrate(facts: Facts, dataset: str) -> Rates:
    """Return this machine's rates for the jobs of a dataset.

    It writes a temporary file in the current folder.

    Raises ReclipError: the device does not exist, or the folder is not writable.
    """
    compute = facts.plan.params.compute
    device = setup(compute)
    in_force = precision.resolve(compute.precision, device)
    write, read = _disk()
    conv = _student(facts, dataset, device, in_force)  # only the student has convolutions
    reduced = None
    if in_force == "bfloat16":
        reduced = _blocks(facts, dataset, device, in_force), conv
    return Rates(
        matmul=_blocks(facts, dataset, device, "float32"),
        conv=conv,
        resize=_resize(facts, dataset, device),
        operations=operations_per_second(device),
        megapixels=_photos(facts, dataset),
        read=read,
        write=write,
        gpu=device.type if device.type == "cuda" else "",
        bfloat16=reduced,
    )


def operations_per_second(device: torch.device) -> float:
    """Return the small operations that Python calls in a second, in chains as deep as a step's."""
    small = torch.ones(64, 64, device=device)
    return 100 * _per_second(lambda: reduce(lambda y, _: y.tanh(), range(100), small))


def _per_second(run: Callable[[], object]) -> float:
    """Return the calls of `run` per second; the first call does not count."""

    def finished() -> None:
        run()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()

    finished()
    calls, seconds = timeit.Timer(finished).autorange()
    return calls / seconds


def _blocks(facts: Facts, dataset: str, device: torch.device, in_force: Precision) -> float:
    """Return the FLOP/s of blocks of the image tower on the tokens of a view."""
    tower = meta.clip(facts.model, BLOCKS).model.visual.transformer
    blocks = copy.deepcopy(tower).to_empty(device=device)
    for parameter in blocks.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    round_weights(blocks, in_force)
    x = torch.randn(1, facts.view_cells(dataset) + 1, tower.width, device=device)
    with torch.inference_mode():
        work = flops.count(lambda: tower(x.to("meta"))).flops
        with autocast(in_force, device):
            return work * _per_second(lambda: blocks(x))


def _student(facts: Facts, dataset: str, device: torch.device, in_force: Precision) -> float:
    """Return the FLOP/s of the student, forward and backward, on a part of a batch or view."""
    settings, crop = facts.experiment.section(dataset, "distill"), facts.views(dataset).crop
    shape = (settings.backbone, json.dumps(settings.backbone_args), facts.dim)
    part = STUDENT_FLOPS / flops.student(*shape, crop).train.flops
    batch = max(1, min(settings.batch, round(part)))
    crop = min(crop, OUTPUT_STRIDE * max(8, round(math.sqrt(part) * crop / OUTPUT_STRIDE)))
    net = DeepLabV2(settings.backbone, facts.dim, backbone_args=settings.backbone_args)
    net = net.to(device).train()
    net.precision = in_force
    images = torch.randn(batch, 3, crop, crop, device=device)

    def step() -> None:
        net.zero_grad(set_to_none=True)
        net(images).mean().backward()

    return batch * flops.student(*shape, crop).train.flops * _per_second(step)


def _resize(facts: Facts, dataset: str, device: torch.device) -> float:
    """Return the values/s of resizing logits to pixels and taking the best class."""
    classes, side = len(facts.census[dataset].classes), math.isqrt(facts.view_cells(dataset))
    logits = torch.randn(1, classes, side, side, device=device)
    size = (facts.patch * side,) * 2
    with torch.inference_mode():
        rate = _per_second(lambda: resize(logits, size).argmax(1))
    return facts.patch**2 * logits.numel() * rate


def _photos(facts: Facts, dataset: str) -> float:
    """Return the megapixels/s of reading a JPEG file and preparing a view of it."""
    height, width = next(iter(facts.census[dataset].sizes["train"]))
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    photo = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    image, norm = facts.experiment.section(dataset, "image"), facts.experiment.clip.norm
    view = draw_view("photo", height, width, 0, facts.views(dataset), image)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        photo.save(path, quality=95)
        rate = _per_second(lambda: normalise(crop_image(read_image(path), view), norm))
    return math.prod(view.size) / 1e6 * rate


def _disk() -> tuple[float, float]:
    """Return the bytes/s written to and read from the current folder's disk, without its cache."""
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
            f"Cannot write in the current folder ({error}): run the command in another folder, or "
            f"add --no-calibrate"
        ) from error
    return DISK_BYTES / (written - began), DISK_BYTES / (done - began_reading)
