"""Checkpoints of a training: an interrupted training resumes and ends with the same bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from reclip.common.files import atomic

EVERY_SECONDS = "20"  # ours: the most work that a kill can lose


class Checkpoint:
    """A training state in a hidden file beside the weights that it leads to.

    A state is resumed only under the digest of the job that saved it. So changed settings never
    start from old weights. It says nothing of processes, so any number of them resumes it.
    A thread writes a copy of the state, while the training goes on; so enter it as a context.
    `every_seconds` between two saves is by default RECLIP_CHECKPOINT_SECONDS of the environment.
    """

    def __init__(self, output: Path, digest: str, every_seconds: float | None = None):
        self.output = output
        self.path = output.with_name(f".{output.stem}.checkpoint")
        self.digest = digest
        default = os.environ.get("RECLIP_CHECKPOINT_SECONDS", EVERY_SECONDS)
        self.every_seconds = float(default) if every_seconds is None else every_seconds
        self._saved_at = time.monotonic()
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until the last save is on disk; raise what went wrong with it."""
        self._wait()

    def load(self) -> dict[str, Any] | None:
        """Return the state to resume; None if there is none with this digest."""
        if not self.path.is_file():
            return None
        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        return saved["state"] if saved["digest"] == self.digest else None

    def save_if_due(self, make_state: Callable[[], dict[str, Any]]) -> None:
        """Save `make_state()` if the last save is `every_seconds` ago; call this between steps.

        A save that has not ended is waited for. What went wrong with it is raised then.
        """
        if time.monotonic() - self._saved_at < self.every_seconds:
            return
        self._wait()
        copied = tree_map_only(torch.Tensor, torch.Tensor.clone, make_state())
        self._writing = self._thread.submit(self._write, copied)
        self._saved_at = time.monotonic()

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _write(self, state: dict[str, Any]) -> None:
        with atomic(self.path) as partial:
            torch.save({"digest": self.digest, "state": state}, partial)
