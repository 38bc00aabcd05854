"""Whether jobs will compute on a GPU, asked without torch: the workflow's parser must stay fast."""

from __future__ import annotations

from pathlib import Path

from reclip.config.models import ComputeSettings

NVIDIA = Path("/dev/nvidia0")  # Linux; elsewhere a GPU must be asked for by name


def uses_gpu(compute: ComputeSettings) -> bool:
    """True for a device other than the CPU, and for `auto` where there is an NVIDIA GPU."""
    if compute.device == "auto":
        return NVIDIA.exists()
    return compute.device != "cpu"
