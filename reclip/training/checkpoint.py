"""Checkpoints of a training: an interrupted training resumes and ends with the same bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from reclip.common.files import atomic

EVERY_SECONDS = "20"  # ours: the most work that a kill can lose

FINISHED = {"finished": True}


class Checkpoint:
    """A training state in a hidden file beside the weights that it leads to.

    A state is resumed only under the digest of the job that saved it. So changed settings never
    start from old weights. A finished training leaves a marker, until all seeds are trained.
    `every_seconds` between two saves is by default RECLIP_CHECKPOINT_SECONDS of the environment.
    """

    def __init__(self, output: Path, digest: str, every_seconds: float | None = None):
        self.output = output
        self.path = output.with_name(f".{output.stem}.checkpoint")
        self.digest = digest
        default = os.environ.get("RECLIP_CHECKPOINT_SECONDS", EVERY_SECONDS)
        self.every_seconds = float(default) if every_seconds is None else every_seconds
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Return the state to resume; None if there is none with this digest."""
        state = self._read()
        return None if state == FINISHED else state

    def finished(self) -> bool:
        """Return whether the weights exist and were completed with this digest."""
        return self.output.is_file() and self._read() == FINISHED

    def _read(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        return saved["state"] if saved["digest"] == self.digest else None

    def save_if_due(self, make_state: Callable[[], dict[str, Any]]) -> None:
        """Save `make_state()` if the last save is `every_seconds` ago; call this between steps."""
        if time.monotonic() - self._saved_at >= self.every_seconds:
            self._save(make_state())

    def finish(self) -> None:
        """Mark the weights as complete; the marker replaces the state."""
        self._save(FINISHED)

    def _save(self, state: dict[str, Any]) -> None:
        with atomic(self.path) as partial:
            torch.save({"digest": self.digest, "state": state}, partial)
        self._saved_at = time.monotonic()
