"""Losses that are not read yet: to read one, a GPU must finish all that it was given.

So they stay on the device, and those of several steps are read at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from reclip.common.errors import ReclipError

STEPS, SECONDS = 50, 5.0
"""Our choice: losses are read after so many steps, or after so many seconds if steps are slow."""


class Step(NamedTuple):
    """A step's number, epoch, learning rate, and its losses by name, "loss" being their sum."""

    step: int
    epoch: int
    lr: float
    losses: dict[str, float]


class PendingLosses:
    """Collects the losses of steps on the device until they are read.

    label: names the training in errors.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._names: list[str] = []
        self._waiting: list[tuple[int, int, float, Tensor]] = []
        self._read_at = time.monotonic()

    def add(self, step: int, epoch: int, lr: float, terms: dict[str, Tensor]) -> None:
        """Add a step with the terms of its loss, by name in the same order each time."""
        self._names = ["loss", *terms]
        values = torch.stack([sum(terms.values()), *terms.values()])
        self._waiting.append((step, epoch, lr, values))

    def due(self) -> bool:
        """Return whether it is time to read them."""
        late = time.monotonic() - self._read_at >= SECONDS
        return len(self._waiting) >= STEPS or (late and bool(self._waiting))

    def read(self) -> Iterator[Step]:
        """Yield the steps since the last reading.

        Raises ReclipError: a loss is infinite or not a number.
        """
        waiting, self._waiting, self._read_at = self._waiting, [], time.monotonic()
        if not waiting:
            return
        numbers = _from_device(torch.stack([values for *_, values in waiting]))
        for (step, epoch, lr, _), row in zip(waiting, numbers, strict=True):
            if not math.isfinite(row[0]):
                raise ReclipError(
                    f"{self._label}: the loss is {row[0]} at step {step}: lower the learning rate "
                    f"(lr)"
                )
            yield Step(step, epoch, lr, dict(zip(self._names, row, strict=True)))


def _from_device(values: Tensor) -> list[list[float]]:
    """Return the numbers of a matrix. Of a step of training, nothing else reads the device."""
    return values.tolist()
