"""The training loop of rectification, distillation and the probe: seeded, resumable, logged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from reclip.training.checkpoint import Checkpoint


@dataclass
class Task:
    """A model to train, with its batches and losses.

    Threads call `load` in advance, so it must not draw random numbers.
    """

    model: torch.nn.Module
    load: Callable[[int, np.ndarray], Any]  # epoch and image indices to a batch
    losses: Callable[[Any], dict[str, torch.Tensor]]  # batch to weighted terms of the loss
    save: Callable[[Path], None]  # writes the trained weights
    noise: torch.Generator | None = None  # the source of randomness in `losses`


def batches(count: int, size: int, epochs: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the epoch and the image indices of each step.

    Each epoch has a new order. Its last batch may be smaller than `size`.
    """
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(count)
        for start in range(0, count, size):
            yield epoch, np.sort(order[start : start + size])


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
    label: str,
    loaders: int = 0,
) -> None:
    """Train by SGD with the poly schedule; write the weights and the curve.

    Args:
        settings: of the optimiser, with `epochs` and `batch`.
        count: number of training images; `seed` determines their order.
        checkpoint: of the training to resume; it also names the file of the weights.
        curve: CSV file of step, epoch, learning rate and losses.
        label: names the training in the progress bar and in errors.
        loaders: threads that prefetch batches.

    Raises ReclipError: the loss is infinite or not a number.
    """
    model = task.model
    optimiser = make_sgd(model, settings)
    done, names, rows = 0, [], []
    if (saved := checkpoint.load()) is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        if task.noise is not None:
            task.noise.set_state(saved["noise"])
        done, names, rows = saved["step"], saved["names"], saved["curve"]

    def state() -> dict[str, Any]:
        return {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "noise": None if task.noise is None else task.noise.get_state(),
            "step": len(rows),
            "names": names,
            "curve": rows,
        }

    steps = list(batches(count, settings.batch, settings.epochs, seed))
    model.train()
    loaded = prefetch(steps[done:], lambda step: task.load(*step), loaders)
    with tqdm(desc=label, total=len(steps), initial=done, disable=None) as bar:
        for step, ((epoch, _), batch) in enumerate(loaded, start=done):
            lr = poly_lr(step, len(steps), settings.lr, settings.power, settings.min_lr)
            for group in optimiser.param_groups:
                group["lr"] = lr
            optimiser.zero_grad(set_to_none=True)
            losses = task.losses(batch)
            total = sum(losses.values())
            values = [float(v.detach()) for v in (total, *losses.values())]
            if not math.isfinite(values[0]):
                raise ReclipError(
                    f"{label}: the loss is {values[0]} at step {step}: lower the learning rate (lr)"
                )
            total.backward()
            optimiser.step()
            names = ["loss", *losses]
            rows.append([step, epoch, lr, *values])
            checkpoint.save_if_due(state)
            bar.set_postfix(loss=f"{values[0]:.3f}", refresh=False)
            bar.update()
    model.eval()
    lines = [(*row[:2], *(f"{value:.6g}" for value in row[2:])) for row in rows]
    write_table(curve, ("step", "epoch", "lr", *names), lines)
    with atomic(checkpoint.output) as partial:
        task.save(partial)
