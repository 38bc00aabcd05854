"""The loop that rectification, distillation and the probe share: seeded, resumable, logged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.common.prefetch import prefetch
from reclip.common.tables import write_table
from reclip.config.models import OptimiserSettings
from reclip.training.checkpoint import Checkpoint, TrainingState

Batch = TypeVar("Batch")


def batches(count: int, size: int, epochs: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """(epoch, row numbers) of every step: each epoch a new order; the short last batch is kept."""
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(count)
        for start in range(0, count, size):
            yield epoch, np.sort(order[start : start + size])


def poly_lr(step: int, total: int, base: float, power: float = 0.9, minimum: float = 0.0) -> float:
    """Polynomial decay `base * (1 - step / total) ** power`, never below `minimum`.

    `step` counts from 0 and may be updates or epochs, as `total` does. Power 0.9: paper,
    section 4.1. The paper names no minimum; the official code stops at 1e-4.
    """
    remaining = max(0.0, 1.0 - step / total)
    return max(minimum, base * remaining**power)


def make_sgd(
    params: Iterable[torch.nn.Parameter],
    lr: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> torch.optim.SGD:
    """SGD over those of `params` that require a gradient.

    Rate and weight decay: paper, section 4.1. Momentum: official code (the paper has none).
    """
    trainable = [p for p in params if p.requires_grad]
    return torch.optim.SGD(trainable, lr=lr, momentum=momentum, weight_decay=weight_decay)


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
    loaded = prefetch(steps[progress.step :], lambda step: load(*step), loaders)
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
