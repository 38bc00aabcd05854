"""Amounts of work, and the time they take: on a GPU from its data sheet, or at measured rates.

In float32, PyTorch by default uses TF32 for convolutions where the GPU has it, but not for matrix
products. So the two have different peaks. In bfloat16 both have the same.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from reclip.config.models import PrecisionSetting
from reclip.pipeline.stages import STAGES

TRAINING = tuple(name for name, stage in STAGES.items() if stage.trains)
PREFETCHING = ("cache-features", *TRAINING)
"""Stages that read ahead with `compute.loaders` threads."""

REDUCED = ("cache-features", "distill", "probe", "evaluate")
"""Stages whose networks compute in `compute.precision`. Rectification is float32."""

RESIZE_FLOPS = 8
"""FLOPs of one bilinearly resized value: four neighbours, each a multiply-add."""


@dataclass(frozen=True)
class Work:
    """Amounts of work, which add up and can be multiplied by a number."""

    matmul: float = 0.0  # FLOPs of matrix products
    conv: float = 0.0  # FLOPs of convolutions
    resized: float = 0.0  # output values of bilinear resizing, of logits and features
    steps: float = 0.0  # optimiser steps
    graphs: float = 0.0  # of the steps, those that are one graph (`compute.compile`)
    calls: float = 0.0  # forward passes outside training
    megapixels: float = 0.0  # of photos and masks, read, resized or written on the CPU
    read: float = 0.0  # bytes from the feature cache
    written: float = 0.0  # bytes of the outputs

    @property
    def flops(self) -> float:
        return self.matmul + self.conv + RESIZE_FLOPS * self.resized

    def __add__(self, other: Work) -> Work:
        return Work(*map(sum, zip(vars(self).values(), vars(other).values(), strict=True)))

    def __mul__(self, times: float) -> Work:
        return Work(*(times * amount for amount in vars(self).values()))

    __rmul__ = __mul__


# Assumptions about every GPU; none was measured.
FP32_EFFICIENCY = 0.5  # large matrix products reach more, those of 134 text tokens less
TF32_EFFICIENCY = 0.35  # lower: at this rate 1×1 convolutions and norms wait for memory
BF16_EFFICIENCY = 0.5, 0.2  # of matrix products and of convolutions, which wait for memory longer
RESIZE_BYTES = 16  # moved for a resized value: written, then read by the loss or argmax
OPERATION_SECONDS = 1e-5  # to launch one small operation from Python
READ_RATE = 1e9  # bytes/s, from disk to the GPU

# Small operations of a step: 12 blocks of about 25 forward and twice as many backward, losses and
# optimiser. That is 15 ms a step at the rate above.
STEP_OPERATIONS, CALL_OPERATIONS = 1500, 300
GRAPH_OPERATIONS = 100  # a CUDA graph, copies, noise and optimiser: 1 ms
MEGAPIXEL_SECONDS = 0.06  # measured on one core, 512×512 views of VOC's photos: 38 ms a view
START_SECONDS = 5.0  # a job's imports


@dataclass(frozen=True)
class Rates:
    """The amounts that a machine does in a second."""

    matmul: float  # FLOPs
    conv: float  # FLOPs
    resize: float  # values
    operations: float  # small operations from Python
    megapixels: float  # of photos, read, resized and normalised by one core
    read: float  # bytes of the feature cache
    write: float  # bytes of outputs
    gpu: str = ""  # its name; Python launches operations while a GPU computes
    bfloat16: tuple[float, float] | None = None  # FLOPs of `matmul` and of `conv`, if it has it

    def of(self, stage: str, precision: PrecisionSetting) -> Rates:
        """Return the rates of a stage's jobs under `compute.precision`."""
        if precision == "float32" or stage not in REDUCED or self.bfloat16 is None:
            return self
        matmul, conv = self.bfloat16
        return replace(self, matmul=matmul, conv=conv)


def _gpu(name: str, fp32: float, tf32: float, bandwidth: float, bf16: float = 0.0) -> Rates:
    """Return rates by a data sheet: FLOP/s without and with (dense) TF32, bytes/s of memory.

    bf16: (dense) FLOP/s in bfloat16; 0 if the GPU has none.
    """
    return Rates(
        matmul=FP32_EFFICIENCY * fp32,
        conv=TF32_EFFICIENCY * tf32,
        resize=bandwidth / RESIZE_BYTES,
        operations=1 / OPERATION_SECONDS,
        megapixels=1 / MEGAPIXEL_SECONDS,
        read=READ_RATE,
        write=READ_RATE,
        gpu=name,
        bfloat16=tuple(share * bf16 for share in BF16_EFFICIENCY) if bf16 else None,
    )


GPUS = {
    "h100": _gpu("H100 SXM", 67e12, 494e12, 3.35e12, 989e12),
    "a100": _gpu("A100 SXM 80 GB", 19.5e12, 156e12, 2.04e12, 312e12),
    "4090": _gpu("RTX 4090", 82.6e12, 82.6e12, 1.01e12, 165e12),
    "3090": _gpu("RTX 3090", 35.6e12, 35.6e12, 0.94e12, 71e12),
    "v100": _gpu("V100 SXM2", 15.7e12, 15.7e12, 0.90e12),  # has neither TF32 nor bfloat16
    "t4": _gpu("T4", 8.1e12, 8.1e12, 0.32e12),  # has neither TF32 nor bfloat16
}
DEFAULT_GPU = "h100"

CPU = "cpu"
"""The name of a machine without GPUs."""


def cpu(threads: int) -> Rates:
    """Return rates of a job with `threads` threads on a common server's CPU; assumed, and low."""
    return Rates(
        matmul=15e9 * threads,
        conv=10e9 * threads,
        resize=30e6 * threads,
        operations=30e3,
        megapixels=1 / MEGAPIXEL_SECONDS,
        read=READ_RATE / 10,
        write=READ_RATE / 10,
    )


def seconds(work: Work, rates: Rates, loaders: int = 0) -> float:
    """Return the time of one job.

    loaders: threads that prefetch while the job computes; without any it reads, then computes.
    """
    computing = work.matmul / rates.matmul + work.conv / rates.conv + work.resized / rates.resize
    graphs = work.graphs if rates.gpu else 0  # a CPU has no CUDA graphs
    operations = STEP_OPERATIONS * (work.steps - graphs) + GRAPH_OPERATIONS * graphs
    launching = (operations + CALL_OPERATIONS * work.calls) / rates.operations
    busy = max(computing, launching) if rates.gpu else computing + launching
    reading = work.megapixels / rates.megapixels + work.read / rates.read
    both = max(busy, reading / loaders) if loaders else busy + reading
    return START_SECONDS + both + work.written / rates.write


def jobs_at_once(threads: int, rates: Rates) -> int:
    """Return the number of jobs with `threads` threads that Snakemake runs at once here.

    A GPU computes for one job at a time.
    """
    if rates.gpu:
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // threads)
