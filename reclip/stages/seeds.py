"""Train every seed of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from reclip.pipeline.artifacts import curve_file, seed_file
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.training import processes
from reclip.training.checkpoint import Checkpoint
from reclip.training.loop import train
from reclip.training.task import Task


def each_seed(
    job: Job,
    count: int,
    start: Callable[[int], Task],
    notes: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """Train the seeds of a run that are not finished; write weights, curves and the receipt.

    Args:
        count: number of training images.
        start: seed to the task of that seed, with its initial weights.
        notes: called when all seeds are trained; what it returns goes into the receipt.
    """
    outputs, checkpoints = [], []
    for seed in job.settings["seeds"]:
        path, curve = seed_file(job.folder, seed), curve_file(job.folder, seed)
        checkpoint = Checkpoint(path, job.digest)
        torch.manual_seed(seed)
        by = train(
            start(seed),
            job.settings[job.stage],
            count=count,
            seed=seed,
            checkpoint=checkpoint,
            curve=curve,
            label=f"{job.name}, seed {seed}",
            loaders=job.settings["compute"].loaders,
        )
        outputs += [path, curve]
        checkpoints.append(checkpoint)
    if not processes.writes():
        return
    found = notes() if notes else {}
    finish(job, outputs, notes=found | ({} if by == [1] else {"processes": by}))
    for checkpoint in checkpoints:
        checkpoint.path.unlink(missing_ok=True)
