"""The loop that rectification, distillation and the probe share: seeded, resumable, logged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.common.prefetch import ahead
from reclip.config.models import OptimiserSettings
from reclip.data.index import write_table
from reclip.pipeline.job import Job
from reclip.training.checkpoint import Checkpoint, TrainingState
from reclip.training.schedule import make_sgd, poly_lr

Batch = TypeVar("Batch")


def seed_file(folder: Path, seed: int | None) -> Path:
    """Weights of one seed."""
    return folder / f"seed-{seed}.safetensors"


def curve_file(folder: Path, seed: int) -> Path:
    """Training curve of one seed: step, epoch, lr and the losses."""
    return folder / f"seed-{seed}-curve.csv"


def batches(count: int, size: int, epochs: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """(epoch, row numbers) of every step: each epoch a new order; the short last batch is kept."""
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(count)
        for start in range(0, count, size):
            yield epoch, np.sort(order[start : start + size])


def train(
    model: torch.nn.Module,
    load: Callable[[int, np.ndarray], Batch],
    compute_losses: Callable[[Batch], dict[str, torch.Tensor]],
    settings: OptimiserSettings,
    *,
    count: int,
    seed: int,
    generators: dict[str, torch.Generator],
    checkpoint: Checkpoint,
    curve: Path,
    label: str,
    loaders: int = 0,
) -> None:
    """Minimise the sum of the losses by SGD with the poly schedule; write the curve.

    Args:
        load: (epoch, rows of training images) to a batch, by `loaders` threads ahead of time; it
            draws no random numbers.
        compute_losses: batch to weighted loss terms; their sum is minimised.
        count: training images; `settings` has `epochs` and `batch`.
        generators: random sources that `compute_losses` draws from, saved with the state.
        checkpoint: where the state is kept; a state that is there is gone on from.

    Raises ReclipError: the loss is no longer a finite number.
    """
    optimiser = make_sgd(
        [p for p in model.parameters() if p.requires_grad],
        settings.lr,
        settings.momentum,
        settings.weight_decay,
    )
    progress = TrainingState(model, optimiser, generators)
    saved = checkpoint.load()
    if saved is not None:
        progress.restore(saved)
    steps = list(batches(count, settings.batch, settings.epochs, seed))
    model.train()
    bar = tqdm(desc=label, total=len(steps), initial=progress.step, disable=None)
    loaded = ahead(steps[progress.step :], lambda step: load(*step), loaders)
    for step, ((epoch, _), batch) in enumerate(loaded, start=progress.step):
        lr = poly_lr(step, len(steps), settings.lr, settings.power, settings.min_lr)
        for group in optimiser.param_groups:
            group["lr"] = lr
        optimiser.zero_grad(set_to_none=True)
        losses = compute_losses(batch)
        total = sum(losses.values())
        values = [float(v.detach()) for v in (total, *losses.values())]
        if not math.isfinite(values[0]):
            raise ReclipError(
                f"{label}: the loss is {values[0]} at step {step}: lower the learning rate (lr)"
            )
        total.backward()
        optimiser.step()
        progress.names = ["loss", *losses]
        progress.curve.append([step, epoch, lr, *values])
        progress.step = step + 1
        checkpoint.save_now_and_then(progress.state)
        bar.set_postfix(loss=f"{values[0]:.3f}", refresh=False)
        bar.update()
    bar.close()
    model.eval()
    rows = [(int(r[0]), int(r[1]), *(f"{v:.6g}" for v in r[2:])) for r in progress.curve]
    write_table(curve, ("step", "epoch", "lr", *progress.names), rows)


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
    job.done(outputs)
    for checkpoint in checkpoints:
        checkpoint.remove()
