"""Resumable training: the state is saved now and then, and a restart ends with the same bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from reclip.common.files import atomic

EVERY_SECONDS = 20.0  # ours: what a kill costs at most; RECLIP_CHECKPOINT_SECONDS overrides it


class Checkpoint:
    """A training state beside the output it leads to, until the whole job is done.

    A state counts only if it was saved under the same job digest, so that changed settings never
    go on from old weights. `finish` leaves a note that this output is whole, for a job of several.
    """

    def __init__(self, output: Path, digest: str, every_seconds: float | None = None):
        self.output = output
        self.path = output.with_name(f".{output.stem}.checkpoint")
        self.digest = digest
        if every_seconds is None:
            every_seconds = float(os.environ.get("RECLIP_CHECKPOINT_SECONDS", EVERY_SECONDS))
        self.every_seconds = every_seconds
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None."""
        if not self.path.is_file():
            return None
        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        return saved["state"] if saved["digest"] == self.digest else None

    def finished(self) -> bool:
        """Whether the output was completed under this digest, and is still there."""
        if not self.output.is_file():
            return False
        state = self.load()
        return state is not None and state.get("finished", False)

    def save_now_and_then(self, make_state: Callable[[], dict[str, Any]]) -> None:
        """Save if the last time was long enough ago; call it between two steps."""
        if time.monotonic() - self._saved_at >= self.every_seconds:
            self._save(make_state())

    def finish(self) -> None:
        """The output is written: keep a note of it in place of the state."""
        self._save({"finished": True})

    def _save(self, state: dict[str, Any]) -> None:
        with atomic(self.path) as partial:
            torch.save({"digest": self.digest, "state": state}, partial)
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class TrainingState:
    """Model, optimiser, generators and curve of a loop over steps, saved and restored as one."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        generators: dict[str, torch.Generator],
    ):
        self.model, self.optimiser, self.generators = model, optimiser, generators
        self.step = 0
        self.names: list[str] = []
        self.curve: list[list[float]] = []

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generators": {k: g.get_state() for k, g in self.generators.items()},
            "step": self.step,
            "names": self.names,
            "curve": self.curve,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name])
        self.step, self.names, self.curve = state["step"], state["names"], state["curve"]
