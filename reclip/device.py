"""Where tensors live, and the switches that make a run repeatable."""

from __future__ import annotations

import os

import torch

from reclip.common.errors import ReclipError
from reclip.config.models import ComputeSettings


def pick_device(name: str, option: str = "params: 'compute.device'") -> torch.device:
    """`auto` is the first GPU if there is one. Raises ReclipError for one that is not there.

    option: what named it, for the error.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ReclipError(f"{option}: no device '{name}' here: use auto, cpu or cuda") from error
    return device


def deterministic() -> None:
    """Same settings and seed, same bytes on one machine."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # `use_deterministic_algorithms(warn_only=True)`, but without importing torch's compiler (2 s).
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = False


def setup(compute: ComputeSettings) -> torch.device:
    """The device of a stage, with repeatable arithmetic."""
    deterministic()
    torch.set_num_threads(compute.threads)
    return pick_device(compute.device)
