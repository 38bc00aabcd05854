"""Train one seed of a run: what the stages `rectify`, `distill` and `probe` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from reclip.pipeline.artifacts import CURVE_FILE, WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.training import processes
from reclip.training.checkpoint import Checkpoint
from reclip.training.loop import train
from reclip.training.task import Task


def train_seed(
    job: Job,
    count: int,
    start: Callable[[], Task],
    notes: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """Train a job's seed, or resume its training; write the weights, the curve and the receipt.

    Args:
        count: number of training images.
        start: gives the task with its initial weights.
        notes: called after the training; what it returns goes into the receipt.
    """
    weights, curve = job.folder / WEIGHTS_FILE, job.folder / CURVE_FILE
    checkpoint = Checkpoint(weights, job.digest)
    torch.manual_seed(job.seed)
    by = train(
        start(),
        job.settings[job.stage],
        count=count,
        seed=job.seed,
        checkpoint=checkpoint,
        curve=curve,
        label=job.name,
        loaders=job.settings["compute"].loaders,
    )
    if not processes.writes():
        return
    found = notes() if notes else {}
    # Equal to one process but for rounding, so the receipt says so.
    finish(job, [weights, curve], notes=found | ({} if by == [1] else {"processes": by}))
    checkpoint.path.unlink(missing_ok=True)
