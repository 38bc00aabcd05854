"""How long work takes: on a GPU by its data sheet, or at rates that were measured.

The arithmetic of the pipeline is float32. PyTorch lets convolutions use TF32 where there is such a
thing (`torch.backends.cudnn.allow_tf32` is true) and matrix products not
(`torch.backends.cuda.matmul.allow_tf32` is false), so the two have peaks of their own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from reclip.cost.work import Work


@dataclass(frozen=True)
class Gpu:
    """Of a data sheet: FLOP/s in float32 without and (dense) with TF32, bytes/s of memory."""

    name: str
    fp32: float
    tf32: float
    bandwidth: float


GPUS = {
    "h100": Gpu("H100 SXM", 67e12, 494e12, 3.35e12),
    "a100": Gpu("A100 SXM 80 GB", 19.5e12, 156e12, 2.04e12),
    "4090": Gpu("RTX 4090", 82.6e12, 82.6e12, 1.01e12),
    "3090": Gpu("RTX 3090", 35.6e12, 35.6e12, 0.94e12),
    "v100": Gpu("V100 SXM2", 15.7e12, 15.7e12, 0.90e12),  # before TF32
    "t4": Gpu("T4", 8.1e12, 8.1e12, 0.32e12),  # before TF32
}
DEFAULT_GPU = "h100"

# Assumptions about every GPU; none was measured on one.
FP32_EFFICIENCY = 0.5  # large matrix products reach more, those of 134 text tokens less
TF32_EFFICIENCY = 0.35  # lower: at this rate 1×1 convolutions and norms wait for memory
RESIZE_BYTES = 16  # moved for a resized value: written, and read by the loss or argmax after it
OPERATION_SECONDS = 1e-5  # to launch one small operation from Python
READ_RATE = 1e9  # bytes/s, from disk to the GPU

# What a pass through the networks is in small operations: 12 blocks of about 25 forward, and
# twice as many backward, then losses and optimiser. 15 ms a step at the rate above.
STEP_OPERATIONS, CALL_OPERATIONS = 1500, 300
# Measured on one core of a server, 512×512 views of VOC's photos: 38 ms a view.
MEGAPIXEL_SECONDS = 0.06
START_SECONDS = 5.0  # a job's imports


@dataclass(frozen=True)
class Rates:
    """What a machine does in a second.

    Attributes:
        matmul, conv: FLOPs.
        resize: values.
        operations: small operations from Python.
        megapixels: of photos, decoded, resized and coloured by one core.
        read, write: bytes of the feature cache and of outputs.
        overlap: whether launching and computing go on at the same time, as on a GPU.
    """

    matmul: float
    conv: float
    resize: float
    operations: float
    megapixels: float
    read: float
    write: float
    overlap: bool


def gpu_rates(gpu: Gpu) -> Rates:
    return Rates(
        matmul=FP32_EFFICIENCY * gpu.fp32,
        conv=TF32_EFFICIENCY * gpu.tf32,
        resize=gpu.bandwidth / RESIZE_BYTES,
        operations=1 / OPERATION_SECONDS,
        megapixels=1 / MEGAPIXEL_SECONDS,
        read=READ_RATE,
        write=READ_RATE,
        overlap=True,
    )


def seconds(work: Work, rates: Rates, loaders: int = 0) -> float:
    """Of one job.

    loaders: threads that read ahead while the job computes; with none it reads, then computes.
    """
    computing = work.matmul / rates.matmul + work.conv / rates.conv + work.resized / rates.resize
    operations = STEP_OPERATIONS * work.steps + CALL_OPERATIONS * work.calls
    launching = operations / rates.operations
    busy = max(computing, launching) if rates.overlap else computing + launching
    reading = work.megapixels / rates.megapixels + work.read / rates.read
    both = max(busy, reading / loaders) if loaders else busy + reading
    return START_SECONDS + both + work.written / rates.write


def jobs_at_once(threads: int) -> int:
    """Jobs of so many threads that Snakemake runs side by side here (`cores: all`)."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // threads)
