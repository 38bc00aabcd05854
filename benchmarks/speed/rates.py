"""What was measured, as the cost model wants it (`reclip.cost.machines.Rates`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from reclip.cost.calibrate import operations_per_second
from reclip.cost.machines import MEGAPIXEL_SECONDS, READ_RATE, Rates, Work
from speed.measure import Row

SOURCES = {"matmul": "dense-features", "conv": "distillation-grid", "resize": "class-map"}
"""The stage that gives a rate: what the pipeline reaches there, not the machine's limit."""


class Measured(NamedTuple):
    """A row, and the work of its unit."""

    row: Row
    work: Work


def rates(measured: Sequence[Measured], device: torch.device, name: str) -> Rates | None:
    """Return the rates in float32 of the last size, or None if one of SOURCES was left out.

    The rates of the disk are the model's assumptions, and those of reading if nothing was read.

    name: of the machine.
    """
    by_stage = {m.row.stage: m for m in measured if m.row.precision != "bfloat16"}
    if not set(SOURCES.values()) <= set(by_stage):
        return None
    matmul, conv, resize = (by_stage[stage] for stage in SOURCES.values())
    reading = by_stage.get("read-photos")
    return Rates(
        matmul=matmul.work.matmul / matmul.row.ours,
        conv=conv.work.conv / conv.row.ours,
        resize=resize.work.resized / resize.row.ours,
        operations=operations_per_second(device),
        megapixels=reading.work.megapixels / reading.row.ours if reading else 1 / MEGAPIXEL_SECONDS,
        read=READ_RATE,
        write=READ_RATE,
        gpu=name if device.type == "cuda" else "",
    )
