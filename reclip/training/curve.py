"""The curve of a training: learning rate and losses, of a bounded number of rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from reclip.common.tables import write_table

SINGLE, ROWS = 1_000, 20_000
"""Our choice: the first steps have a row each. Of the rest, a row is the mean of so many steps that
there are at most so many rows. A training of batch 1 has millions of steps."""


class Curve:
    """Collects the losses of each step.

    Args:
        steps: of the training.
        state: of a curve to go on with, as `state` returned it.
    """

    def __init__(self, steps: int, state: dict[str, Any] | None = None) -> None:
        self._every = max(1, math.ceil((steps - SINGLE) / ROWS))
        state = state or {"names": [], "rows": [], "open": []}
        self._names: list[str] = state["names"]
        self._rows: list[list[float]] = state["rows"]
        self._open: list[list[float]] = state["open"]

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"names": self._names, "rows": self._rows, "open": self._open}

    def add(self, step: int, epoch: int, lr: float, losses: dict[str, float]) -> None:
        """Add a step. losses: by name, in the same order each time."""
        self._names = list(losses)
        self._open.append([step, epoch, lr, *losses.values()])
        if step < SINGLE or len(self._open) == self._every:
            self._close()

    def _close(self) -> None:
        *_, (step, epoch, lr, *_) = self._open
        of_steps = [values for _, _, _, *values in self._open]
        means = [math.fsum(values) / len(values) for values in zip(*of_steps, strict=True)]
        self._rows.append([step, epoch, lr, *means])
        self._open = []

    def write(self, path: Path) -> None:
        """Write the CSV file: step, epoch, lr and losses, the last three in six digits."""
        if self._open:
            self._close()
        lines = [(*row[:2], *(f"{value:.6g}" for value in row[2:])) for row in self._rows]
        write_table(path, ("step", "epoch", "lr", *self._names), lines)
