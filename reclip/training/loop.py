"""The training loop of rectification, distillation and the probe: seeded, resumable, logged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
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

    Attributes:
        load: (epoch, image indices) to a batch. Threads call it in advance, so it must not draw
            random numbers.
        losses: batch to weighted loss terms; their sum is minimised.
        save: write the trained weights to a path.
        noise: the generator that `losses` draws from; checkpoints include its state.
    """

    model: torch.nn.Module
    load: Callable[[int, np.ndarray], Any]
    losses: Callable[[Any], dict[str, torch.Tensor]]
    save: Callable[[Path], None]
    noise: torch.Generator | None = None


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


def make_sgd(
    params: Iterable[torch.nn.Parameter],
    lr: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> torch.optim.SGD:
    """Return SGD over the parameters that require a gradient.

    Rate and weight decay: paper Sec. 4.1. Momentum: official code (the paper names none).
    """
    trainable = [p for p in params if p.requires_grad]
    return torch.optim.SGD(trainable, lr=lr, momentum=momentum, weight_decay=weight_decay)


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
    """Train by SGD with the poly schedule; write the curve and the weights.

    Args:
        settings: of the optimiser, with `epochs` and `batch`.
        count: number of training images.
        seed: of the order of the images.
        checkpoint: saves and resumes the training; names the file of the weights.
        curve: CSV file of step, epoch, learning rate and losses.
        label: names the run and seed, for the progress bar and errors.
        loaders: threads that prefetch batches.

    Raises ReclipError: the loss is infinite or not a number.
    """
    model = task.model
    optimiser = make_sgd(model.parameters(), settings.lr, settings.momentum, settings.weight_decay)
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
