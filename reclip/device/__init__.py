"""Choose a job's device and make its results reproducible.

Functions import torch themselves, because Snakemake calls `uses_gpu` for every job process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reclip.common.errors import ReclipError
from reclip.config.models import ComputeSettings
from reclip.device.gpus import uses_gpu

if TYPE_CHECKING:
    import torch

__all__ = ["deterministic", "pick_device", "setup", "uses_gpu"]


def pick_device(name: str, option: str = "params: 'compute.device'") -> torch.device:
    """Return the device `name`; `auto` is the first GPU if there is one, else the CPU.

    option: the option or setting that names the device, for the error.
    Raises ReclipError: this machine has no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ReclipError(
            f"{option}: this machine has no device '{name}': use auto, cpu or cuda"
        ) from error
    return device


def deterministic() -> None:
    """Make torch give equal bytes for equal settings and seeds on one machine."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # `use_deterministic_algorithms(warn_only=True)` would import torch's compiler (2 s).
    torch.set_deterministic_debug_mode("warn")
    # Else new tensors are filled with NaN first: up to 8% of a student's step (ours).
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False


def setup(compute: ComputeSettings) -> torch.device:
    """Set the threads and determinism of a job; return its device."""
    import torch

    deterministic()
    torch.set_num_threads(compute.threads)
    return pick_device(compute.device)
