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


class Checkpoint:
    """A training state in a hidden file beside the weights that it leads to.

    A state is resumed only under the digest of the job that saved it. So changed settings never
    start from old weights. It says nothing of processes, so any number of them resumes it.
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
        if not self.path.is_file():
            return None
        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        return saved["state"] if saved["digest"] == self.digest else None

    def save_if_due(self, make_state: Callable[[], dict[str, Any]]) -> None:
        """Save `make_state()` if the last save is `every_seconds` ago; call this between steps."""
        if time.monotonic() - self._saved_at >= self.every_seconds:
            with atomic(self.path) as partial:
                torch.save({"digest": self.digest, "state": make_state()}, partial)
            self._saved_at = time.monotonic()
