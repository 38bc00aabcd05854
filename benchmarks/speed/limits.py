"""What the machine can do at most: matrix products, convolutions, copies and JPEG decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from reclip.cost.machines import Work
from speed.timing import Budget, Clock, by_turns, synchronised

Precision = str
"""`float32` or `bfloat16`, or `integer` for stages without floating point."""

FLOATS = ("float32", "bfloat16")


class Need(NamedTuple):
    """What one unit of a stage needs at least.

    FLOPs of matrix products and convolutions, bytes read and written, and photos decoded.
    """

    matmul: float = 0.0
    conv: float = 0.0
    copied: float = 0.0
    decoded: float = 0.0

    @classmethod
    def of(cls, work: Work, copied: float = 0.0) -> Need:
        """Return what `work` needs, and `copied` bytes."""
        return cls(work.matmul, work.conv, copied)


class Probe(NamedTuple):
    """A call that does nothing but `amount` of one kind of work."""

    amount: float
    run: Callable[[], object]


Probes = dict[str, Probe]
"""By name: `matmul float32`, `conv bfloat16`, `copied`, `decoded`, ..."""


def probes(device: torch.device, quick: bool = False, clock: Clock = synchronised) -> Probes:
    """Return for each kind of work the probe that is fastest here."""
    budget = Budget(2, 5, 0.2)
    found = {}
    for precision in FLOATS:
        dtype = getattr(torch, precision)
        found[f"matmul {precision}"] = _fastest(_matmuls(device, dtype, quick), budget, clock)
        found[f"conv {precision}"] = _fastest(_convolutions(device, dtype, quick), budget, clock)
    source = torch.zeros((2**20 if quick else 2**26), device=device)
    target = torch.empty_like(source)
    found["copied"] = Probe(2 * source.nbytes, lambda: target.copy_(source))
    return found


def _fastest(candidates: list[Probe], budget: Budget, clock: Clock) -> Probe:
    def rate(probe: Probe) -> float:
        probe.run()
        return probe.amount / min(
            turn["probe"] for turn in by_turns({"probe": probe.run}, budget, clock)
        )

    return max(candidates, key=rate)


def _matmuls(device: torch.device, dtype: torch.dtype, quick: bool) -> list[Probe]:
    sides = (256,) if quick else (1024, 2048, 3072) if device.type == "cpu" else (4096, 8192)
    pairs = [torch.randn(2, side, side, device=device, dtype=dtype) for side in sides]
    return [Probe(2 * len(a) ** 3, lambda a=a, b=b: a @ b) for a, b in pairs]


def _convolutions(device: torch.device, dtype: torch.dtype, quick: bool) -> list[Probe]:
    """Return convolutions of a student's kind on maps of 64 cells, the channels last in memory."""
    shapes = ((64, 3),) if quick else ((256, 3), (512, 3), (1024, 1))
    images = 2 if device.type == "cpu" else 16
    found = []
    for channels, kernel in shapes:
        make = {"device": device, "dtype": dtype}
        x, w = (
            torch.randn(images, channels, 64, 64, **make),
            torch.randn(channels, channels, kernel, kernel, **make),
        )
        x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
        flops = 2 * images * 64**2 * channels**2 * kernel**2
        found.append(Probe(flops, lambda x=x, w=w, k=kernel: torch.conv2d(x, w, padding=k // 2)))
    return found


def decoding(file: Path) -> Probe:
    """Return the probe that decodes one JPEG file by Pillow on one core."""

    def run() -> np.ndarray:
        with Image.open(file) as image:
            return np.asarray(image)

    return Probe(1, run)


def limit(need: Need, precision: Precision, rates: Mapping[str, float]) -> float:
    """Return the seconds that a unit takes at least: the roofline of `need`.

    Arithmetic, memory and decoding may go on at once, so the slowest of them counts.

    rates: amounts a second, by the name of the probe.
    """
    kind = precision if precision in FLOATS else "float32"

    def seconds(amount: float, probe: str) -> float:
        return amount / rates[probe] if amount else 0.0

    arithmetic = seconds(need.matmul, f"matmul {kind}") + seconds(need.conv, f"conv {kind}")
    return max(arithmetic, seconds(need.copied, "copied"), seconds(need.decoded, "decoded"))
