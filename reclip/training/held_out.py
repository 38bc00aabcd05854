"""Photos kept out of a training: their loss says when the training is done, without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from reclip.common.errors import ReclipError
from reclip.training.batches import to_device
from reclip.training.share import Share, draw
from reclip.training.task import Task

LAST = 0.2
"""Our choice: the end of a training is this share of its epochs."""

STILL_FALLING = 0.1
"""A training is not done if its loss fell by this share of the whole fall at the end.

Chosen without labels, on rectifications of `mini` on scenes of another seed than the benchmark's:
twice the epochs lower the loss by over a third of its fall where this share was 21% and 50%, and by
at most 5% where it was 8% or less. A decaying learning rate always gives some percent.
"""

MIN_EPOCHS = 5
"""Our choice: with fewer epochs, the end is too short to judge."""


def split_off(count: int, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the photos that train, and of those that are held out, each sorted.

    The same for every run and seed, so their losses can be compared.
    Raises ReclipError: no photo is left to train with.
    """
    if held_out >= count:
        raise ReclipError(
            f"held_out is {held_out}, but there are only {count} training photos: lower it"
        )
    order = np.random.default_rng(0).permutation(count)
    held, kept = np.split(order, [held_out])
    return np.sort(kept), np.sort(held)


def measure(task: Task, images: np.ndarray, batch: int) -> dict[str, float]:
    """Return the terms of the loss on held-out photos, in their first view.

    The model is in evaluation mode, and the noise is the same every time.
    """
    generator = torch.Generator(task.device).manual_seed(0)
    names, parts = [], []
    task.model.eval()
    with torch.no_grad():
        for start in range(0, len(images), batch):
            rows = images[start : start + batch]
            loaded = to_device(task.load(0, rows), task.device)
            noise = draw(len(rows), task.noise_of(loaded), generator) if task.noise_of else None
            terms = task.losses(loaded, Share(len(rows), noise=noise))
            names, parts = list(terms), [*parts, (len(rows), torch.stack([*terms.values()]))]
    task.model.train()
    found = dict.fromkeys(names, 0.0)
    for (number, _), values in zip(parts, torch.stack([v for _, v in parts]).tolist(), strict=True):
        for name, value in zip(names, values, strict=True):
            found[name] += value * number / len(images)
    return found


@dataclass(frozen=True)
class Convergence:
    """What the held-out loss says of a training.

    Attributes:
        start, end: the loss before the first step, and the mean over the last epochs.
        left: fall from the epochs before these to these, as a share of the whole fall; None if the
            loss did not fall at all.
    """

    start: float
    end: float
    left: float | None

    @property
    def done(self) -> bool:
        return self.left is not None and self.left < STILL_FALLING


def convergence(losses: np.ndarray) -> Convergence | None:
    """Judge held-out losses (E + 1,): before the training and after each epoch.

    None if there are too few epochs to tell.
    """
    epochs = len(losses) - 1
    last = round(LAST * epochs)
    if epochs < MIN_EPOCHS:
        return None
    end, before = losses[-last:].mean(), losses[-2 * last : -last].mean()
    fall = losses[0] - end
    left = float((before - end) / fall) if fall > 0 else None
    return Convergence(float(losses[0]), float(end), left)
