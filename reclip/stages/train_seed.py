"""Train one seed of a run: what the stages `rectify`, `distill` and `probe` share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reclip.config.models import OptimiserSettings
from reclip.pipeline.artifacts import CURVE_FILE, HELD_OUT_FILE, WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.training import processes
from reclip.training.advice import lower_rate
from reclip.training.checkpoint import Checkpoint
from reclip.training.held_out import Convergence, convergence
from reclip.training.loop import train
from reclip.training.task import Task

log = logging.getLogger(__name__)


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
    held_out = job.folder / HELD_OUT_FILE
    checkpoint = Checkpoint(weights, job.digest)
    torch.manual_seed(job.seed)
    by = train(
        start(),
        job.settings[job.stage],
        count=count,
        seed=job.seed,
        checkpoint=checkpoint,
        curve_file=curve,
        held_out=held_out,
        label=job.name,
        loaders=job.settings["compute"].loaders,
        compiled=job.settings["compute"].compile,
    )
    if not processes.writes():
        return
    found, outputs = notes() if notes else {}, [weights, curve]
    if job.settings[job.stage].held_out:
        outputs.append(held_out)
        found = _with_convergence(found, job, held_out)
    # Equal to one process but for rounding, so the receipt says so.
    finish(job, outputs, notes=found | ({} if by == [1] else {"processes": by}))
    checkpoint.path.unlink(missing_ok=True)


def _with_convergence(notes: dict[str, Any], job: Job, held_out: Path) -> dict[str, Any]:
    """Return `notes` with what the held-out loss says.

    A warning is logged if it still falls, or did not fall.
    """
    losses = np.genfromtxt(held_out, delimiter=",", names=True)["loss"]
    found = convergence(losses)
    if found is None:
        return notes
    notes = notes | {"convergence": asdict(found) | {"done": found.done}}
    if not found.done:
        said = f"{job.name} {_not_done(found, job.stage, job.settings[job.stage])}"
        log.warning("%s", said)
        notes["warnings"] = [*notes.get("warnings", ()), said]
    return notes


def _not_done(found: Convergence, stage: str, settings: OptimiserSettings) -> str:
    """Return what is wrong with a training that is not done, and which setting to change."""
    if found.left is None:
        return (
            f"has not learned: the loss on held-out photos did not fall ({found.start:.4g} → "
            f"{found.end:.4g}). {lower_rate(stage, settings)}."
        )
    return (
        f"has not converged: in the last fifth of its epochs the loss on held-out photos fell by "
        f"another {found.left:.0%} of its whole fall. Raise {stage}.epochs ({settings.epochs})."
    )
