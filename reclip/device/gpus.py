"""The GPUs that this process may use, as CUDA numbers or names them. Nothing here starts CUDA."""

from __future__ import annotations

import os
import re
from pathlib import Path

from reclip.config.models import ComputeSettings

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = Path("/dev")  # Linux; elsewhere `compute.device` must name the GPU


def visible() -> list[str]:
    """Return the names of the GPUs that CUDA would show, in its order.

    A scheduler or a user names them in CUDA_VISIBLE_DEVICES. Without it, all GPUs of the machine
    are visible, as "0", "1" and so on.
    """
    named = os.environ.get(VISIBLE)
    if named is None:
        files = (path for path in DEVICES.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name))
        return [str(number) for number, _ in enumerate(files)]
    found: list[str] = []
    for name in (name.strip() for name in named.split(",")):
        if name in ("", "-1", "NoDevFiles"):  # the last is Slurm's, for a job without GPUs
            break  # CUDA ignores what follows
        found.append(name)
    return found


def uses_gpu(compute: ComputeSettings, machine: str | None = None) -> bool:
    """Return whether jobs compute on a GPU; `auto` uses one if there is one.

    machine: the other machine that jobs run on, "cpu" or a GPU's name; None is this machine.
    """
    if compute.device != "auto":
        return compute.device != "cpu"
    return machine != "cpu" if machine else bool(visible())
