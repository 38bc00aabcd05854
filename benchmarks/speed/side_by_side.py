"""Steps of rectification by 1, 2 and 4 processes on one GPU: what `compute.jobs_per_gpu` gains."""

from __future__ import annotations

from multiprocessing.synchronize import Barrier

import torch
from torch import multiprocessing

from reclip.config.models import ComputeSettings
from reclip.device import setup
from speed.inputs import Inputs
from speed.sizes import SIZES
from speed.stages import rectification
from speed.timing import synchronised

JOBS = (1, 2, 4)


def steps_a_second(jobs: int, size: str, device: str, seconds: float) -> float:
    """Return the steps a second that some processes make together."""
    context = multiprocessing.get_context("spawn")
    barrier, rates = context.Barrier(jobs), context.SimpleQueue()
    arguments = barrier, rates, size, device, seconds
    multiprocessing.start_processes(_work, arguments, jobs, start_method="spawn")
    return sum(rates.get() for _ in range(jobs))


def _work(
    _: int, barrier: Barrier, rates: multiprocessing.SimpleQueue, size: str, device: str,
    seconds: float,
) -> None:  # fmt: skip
    """Put the steps a second of one process on the queue; all begin at once."""
    setup(ComputeSettings(device=device, threads=1))
    case = rectification(Inputs(SIZES[size], torch.device(device)))
    for _ in range(3):
        case.ours(case.many, "float32")
    barrier.wait()
    began, steps = synchronised(), 0
    while (now := synchronised()) - began < seconds:
        case.ours(case.many, "float32")
        steps += 1
    rates.put(steps / (now - began))
