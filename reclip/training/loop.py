"""The training loop of rectification, distillation and the probe: seeded, resumable, logged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.common.files import atomic
from reclip.common.prefetch import prefetch
from reclip.common.tables import write_table
from reclip.config.models import OptimiserSettings
from reclip.training import processes
from reclip.training.checkpoint import Checkpoint
from reclip.training.held_out import measure, split_off
from reclip.training.objective import Objective, Part
from reclip.training.share import split
from reclip.training.task import Task


def batches(
    images: np.ndarray, size: int, epochs: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the epoch and the indices of each step, from those of all images to train with.

    Each epoch has a new order. Its last batch may be smaller than `size`.
    """
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(images))
        for start in range(0, len(images), size):
            yield epoch, np.sort(images[order[start : start + size]])


def poly_lr(step: int, total: int, base: float, power: float = 0.9, minimum: float = 0.0) -> float:
    """Return `base * (1 - step / total) ** power`, but at least `minimum`.

    `step` counts from 0. Power 0.9: paper Sec. 4.1. Minimum: the paper names none, the official
    code stops at 1e-4.
    """
    remaining = max(0.0, 1.0 - step / total)
    return max(minimum, base * remaining**power)


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
    curve: Path,
    held_out: Path,
    label: str,
    loaders: int = 0,
) -> list[int]:
    """Train by SGD with the poly schedule; write the weights and the curve.

    In a process group, all processes call this, share each batch, and end with the same weights.
    Only process 0 writes. Returns the number of processes; several if the training was resumed
    with another number.

    Args:
        settings: of the optimiser, with `epochs`, `batch`, `micro_batch` and `held_out`.
        count: number of training images; `seed` determines their order.
        checkpoint: of the training to resume; it also names the file of the weights.
        curve: CSV file of step, epoch, learning rate and losses.
        held_out: CSV file of the losses on held-out images: epoch (0: before the training) and
            losses. Not written if the settings hold none out.
        label: names the training in the progress bar and in errors.
        loaders: threads that prefetch batches.

    Raises ReclipError: the loss is infinite or not a number.
    """
    model, writes = task.model, processes.writes()
    optimiser = make_sgd(model, settings)
    kept, held = split_off(count, settings.held_out)
    done, names, rows, tests, by = 0, [], [], [], []
    if (saved := checkpoint.load()) is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        if task.noise is not None:
            task.noise.set_state(saved["noise"])
        done, names, rows, tests, by = (
            saved[key] for key in ("step", "names", "curve", "held_out", "processes")
        )
    if processes.count() not in by:
        by.append(processes.count())

    def state() -> dict[str, Any]:
        return {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "noise": None if task.noise is None else task.noise.get_state(),
            "step": len(rows),
            "names": names,
            "curve": rows,
            "held_out": tests,
            "processes": by,
        }

    def load(step: tuple[int, np.ndarray]) -> list[Part]:
        epoch, images = step
        rank, number = processes.rank(), processes.count()
        shares = split(len(images), rank, number, settings.micro_batch)
        parts = [(rows, task.load(epoch, images[rows])) for rows in shares]
        whole = len(shares) == number == 1  # then the losses count for themselves
        return [(rows, batch, {} if whole else task.counts(batch)) for rows, batch in parts]

    def test(epoch: int) -> None:
        if len(held) and writes:
            terms = measure(task, held, settings.batch)
            tests.append([epoch, sum(terms.values()), *terms.values()])

    objective = Objective(task)
    an_epoch = math.ceil(len(kept) / settings.batch)
    total = settings.epochs * an_epoch
    steps = batches(kept, settings.batch, settings.epochs, seed)  # a list would hold every order
    model.train()
    if not tests:
        test(0)
    loaded = prefetch(islice(steps, done, None), load, loaders)
    shown = None if writes else True  # None: hide the bar where nobody looks
    with tqdm(desc=label, total=total, initial=done, disable=shown) as bar:
        for step, ((epoch, images), parts) in enumerate(loaded, start=done):
            lr = poly_lr(step, total, settings.lr, settings.power, settings.min_lr)
            for group in optimiser.param_groups:
                group["lr"] = lr
            optimiser.zero_grad(set_to_none=True)
            losses = objective.backward(len(images), parts)
            names = ["loss", *losses]
            values = [float(v) for v in (sum(losses.values()), *losses.values())]
            if not math.isfinite(values[0]):
                raise ReclipError(
                    f"{label}: the loss is {values[0]} at step {step}: lower the learning rate (lr)"
                )
            optimiser.step()
            rows.append([step, epoch, lr, *values])
            if (step + 1) % an_epoch == 0:
                test(epoch + 1)
            if writes:
                checkpoint.save_if_due(state)
            bar.set_postfix(loss=f"{values[0]:.3f}", refresh=False)
            bar.update()
    model.eval()
    if writes:
        lines = [(*row[:2], *(f"{value:.6g}" for value in row[2:])) for row in rows]
        write_table(curve, ("step", "epoch", "lr", *names), lines)
        if tests:
            lines = [(row[0], *(f"{value:.6g}" for value in row[1:])) for row in tests]
            write_table(held_out, ("epoch", *names), lines)
        with atomic(checkpoint.output) as partial:
            task.save(partial)
    return by
