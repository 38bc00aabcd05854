"""The training loop of rectification, distillation and the probe: seeded, resumable, logged."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from reclip.common.files import atomic
from reclip.common.prefetch import prefetch
from reclip.common.tables import write_table
from reclip.config.models import OptimiserSettings
from reclip.training import processes
from reclip.training.batches import batches, pinned
from reclip.training.checkpoint import Checkpoint
from reclip.training.curve import Curve
from reclip.training.held_out import measure, split_off
from reclip.training.objective import Objective, Part
from reclip.training.pending import PendingLosses
from reclip.training.share import split
from reclip.training.task import Task

DROP, DROP_AT = 0.1, 25 / 60
"""MaskContrast's linear classification: a tenth of the rate from epoch 25 of 60."""


def poly_lr(step: int, total: int, base: float, power: float = 0.9, minimum: float = 0.0) -> float:
    """Return `base * (1 - step / total) ** power`, but at least `minimum`.

    `step` counts from 0. Power 0.9: paper Sec. 4.1. Minimum: the paper names none, the official
    code stops at 1e-4.
    """
    remaining = max(0.0, 1.0 - step / total)
    return max(minimum, base * remaining**power)


def learning_rate(settings: OptimiserSettings, step: int, epoch: int, steps: int) -> float:
    """Return the rate of a step, by `settings.schedule`.

    steps: of the training, all epochs together. The rate falls towards the end of the horizon,
    which may lie behind them.
    """
    horizon = settings.horizon or settings.epochs
    if settings.schedule == "drop":
        return settings.lr * (DROP if epoch >= DROP_AT * horizon else 1)
    an_epoch = steps // settings.epochs
    at, of = (epoch, horizon) if settings.schedule == "epoch" else (step, an_epoch * horizon)
    return poly_lr(at, of, settings.lr, settings.power, settings.min_lr)


def make_sgd(model: torch.nn.Module, settings: OptimiserSettings) -> torch.optim.SGD:
    """Return SGD over the parameters that require a gradient."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(
        trainable, settings.lr, settings.momentum, weight_decay=settings.weight_decay
    )


def train(
    task: Task,
    settings: OptimiserSettings,
    *,
    count: int,
    seed: int,
    checkpoint: Checkpoint,
    curve_file: Path,
    held_out: Path,
    label: str,
    loaders: int = 0,
    compiled: bool = False,
) -> list[int]:
    """Train by SGD; write the weights and the curve.

    In a process group, all processes call this, share each batch, and end with the same weights.
    Only process 0 writes. Returns the number of processes; several if the training was resumed
    with another number.

    Args:
        settings: of the optimiser, with `epochs`, `batch`, `micro_batch` and `held_out`.
        count: number of training images; `seed` determines their order.
        checkpoint: of the training to resume; it also names the file of the weights.
        curve_file: CSV file of step, epoch, learning rate and losses.
        held_out: CSV file of the losses on held-out images: epoch (0: before the training) and
            losses. Not written if the settings hold none out.
        label: names the training in the progress bar and in errors.
        loaders: threads that prefetch batches.
        compiled: see `Objective`.

    Raises ReclipError: the loss is infinite or not a number.
    """
    model, writes = task.model, processes.writes()
    optimiser = make_sgd(model, settings)
    kept, held = split_off(count, settings.held_out)
    an_epoch = math.ceil(len(kept) / settings.batch)
    total = settings.epochs * an_epoch
    done, losses_so_far, names, tests, by = 0, None, [], [], []
    if (saved := checkpoint.load()) is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        if task.noise is not None:
            task.noise.set_state(saved["noise"])
        done, losses_so_far, names, tests, by = (
            saved[key] for key in ("step", "curve", "names", "held_out", "processes")
        )
    if processes.count() not in by:
        by.append(processes.count())
    curve, pending = Curve(total, losses_so_far), PendingLosses(label)

    def read_losses() -> None:
        for read in pending.read():
            curve.add(*read)
            bar.set_postfix(loss=f"{read.losses['loss']:.3f}", refresh=False)

    def state() -> dict[str, Any]:
        read_losses()
        return {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "noise": None if task.noise is None else task.noise.get_state(),
            "step": done,
            "curve": curve.state(),
            "names": names,
            "held_out": tests,
            "processes": by,
        }

    def load(step: tuple[int, np.ndarray]) -> list[Part]:
        epoch, images = step
        rank, number = processes.rank(), processes.count()
        shares = split(len(images), rank, number, settings.micro_batch)
        parts = [(rows, task.load(epoch, images[rows])) for rows in shares]
        whole = len(shares) == number == 1  # then the losses count for themselves
        return [
            (rows, pinned(batch, task.device), {} if whole else task.counts(batch))
            for rows, batch in parts
        ]

    def test(epoch: int) -> None:
        nonlocal names
        if len(held) and writes:
            terms = measure(task, held, settings.batch)
            names = ["loss", *terms]
            tests.append([epoch, sum(terms.values()), *terms.values()])

    objective = Objective(task, compiled=compiled, micro_batch=settings.micro_batch)
    # A list would hold every order.
    steps = batches(kept, settings.batch, settings.epochs, seed, settings.order)
    model.train()
    if not tests:
        test(0)
    loaded = prefetch(islice(steps, done, None), load, loaders)
    shown = None if writes else True  # None: hide the bar where nobody looks
    with tqdm(desc=label, total=total, initial=done, disable=shown) as bar, checkpoint:
        for step, ((epoch, images), parts) in enumerate(loaded, start=done):
            lr = learning_rate(settings, step, epoch, total)
            for group in optimiser.param_groups:
                group["lr"] = lr
            optimiser.zero_grad(set_to_none=True)
            losses = objective.backward(len(images), parts)
            optimiser.step()
            pending.add(step, epoch, lr, losses)
            done = step + 1
            if done % an_epoch == 0:
                test(epoch + 1)
            if pending.due():
                read_losses()
            if writes:
                checkpoint.save_if_due(state)
            bar.update()
        read_losses()
    model.eval()
    if writes:
        curve.write(curve_file)
        if tests:
            lines = [(row[0], *(f"{value:.6g}" for value in row[1:])) for row in tests]
            write_table(held_out, ("epoch", *names), lines)
        with atomic(checkpoint.output) as partial:
            task.save(partial)
    return by
