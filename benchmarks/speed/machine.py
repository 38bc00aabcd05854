"""Describe the machine that is measured, without the name of its host."""

from __future__ import annotations

import datetime
import os
import platform
import re
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")


def describe(device: torch.device) -> dict[str, str | int]:
    """Return what the figures depend on: processor or GPU, cores, threads, versions, precisions."""
    found: dict[str, str | int] = {
        "name": name(device),
        "device": device.type,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precisions": _precisions(device),
        "date": datetime.date.today().isoformat(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["gpu_memory_gib"] = round(properties.total_memory / 2**30)
        found["cuda"] = torch.version.cuda or "none"
    return found


def name(device: torch.device) -> str:
    """Return the GPU's name, or the processor's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def slug(machine: dict[str, str | int]) -> str:
    """Return the name of a machine's files; of a processor with its cores, which decide as much."""
    name = re.sub(r"\((?:R|TM)\)|@.*", "", str(machine["name"]), flags=re.I)
    if machine["device"] != "cuda":
        name += f" {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _cpu_info(key: str) -> str:
    """Return a value of the first processor in Linux's list, or nothing."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def _processor() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _precisions(device: torch.device) -> str:
    """Return which hardware computes in the precisions."""
    if device.type == "cuda":
        tf32 = torch.backends.cudnn.allow_tf32 and torch.cuda.get_device_capability(device) >= (
            8,
            0,
        )
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return (
            f"float32, {'with' if tf32 else 'without'} TF32 in convolutions; bfloat16 "
            f"{'in hardware' if bfloat16 else 'emulated'}"
        )
    flags = set(_cpu_info("flags").split())
    units = [unit for unit in ("amx_bf16", "avx512_bf16") if unit in flags]
    bfloat16 = f"in hardware ({', '.join(units)})" if units else "emulated"
    return f"float32 ({torch.backends.cpu.get_cpu_capability()}); bfloat16 {bfloat16}"
