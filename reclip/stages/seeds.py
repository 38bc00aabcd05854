"""Train every seed of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from reclip.pipeline.artifacts import curve_file, seed_file
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.training.checkpoint import Checkpoint


def each_seed(job: Job, train_one: Callable[[int, Path, Checkpoint], None]) -> None:
    """Train every seed of a run that is not whole yet, then vouch for all of them.

    Args:
        train_one: (seed, weights file to write, checkpoint); it also writes `curve_file`.
    """
    outputs, checkpoints = [], []
    for seed in job.settings["seeds"]:
        path = seed_file(job.folder, seed)
        checkpoint = Checkpoint(path, job.digest)
        if not checkpoint.finished():
            torch.manual_seed(seed)
            train_one(seed, path, checkpoint)
            checkpoint.finish()
        outputs += [path, curve_file(job.folder, seed)]
        checkpoints.append(checkpoint)
    finish(job, outputs)
    for checkpoint in checkpoints:
        checkpoint.remove()
