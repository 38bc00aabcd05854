"""The precision of CLIP's image tower and of the student: float32, or bfloat16 by autocast.

Texts, rectification, losses, batch statistics and weights are float32 in either case. No network
reads a global setting: `Clip.compute_in` and `DeepLabV2.precision` hold its precision.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Literal

from reclip.config.models import ComputeSettings, PrecisionSetting

if TYPE_CHECKING:
    import torch
    from torch import nn

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]

IN_HARDWARE = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512"}
"""Instructions of a processor with which bfloat16 was measured to be faster, fastest first.

Others, such as ARM's, were not measured, so `auto` does not choose bfloat16 for them.
"""


@cache
def resolve(setting: PrecisionSetting, device: torch.device) -> Precision:
    """Return the precision in which networks compute on a device; say which and why, once.

    Nothing is said of float32 by choice. A warning is logged if bfloat16 is wanted where it is
    emulated, which is slower than float32.
    """
    if setting == "float32":
        return "float32"
    support = _support(device)
    if setting == "auto":
        chosen: Precision = "bfloat16" if support else "float32"
        why = f"has bfloat16 ({support})" if support else "has no known bfloat16"
        log.info("precision: %s, because compute.precision is auto and %s %s", chosen, device, why)
        return chosen
    if support:
        log.info("precision: bfloat16 (%s)", support)
    else:
        log.warning(
            "compute.precision is bfloat16, which %s may only emulate, and slowly: set float32 or "
            "auto",
            device,
        )
    return "bfloat16"


def note(compute: ComputeSettings, precision: Precision) -> dict[str, str]:
    """Return what a receipt says of the precision, if its settings leave the choice open."""
    return {"precision": precision} if compute.precision == "auto" else {}


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager:
    """Return a context in which matrix products and convolutions have the precision.

    In float32 nothing is changed: tensors of another type, such as float64, keep theirs.
    """
    if precision == "float32":
        return nullcontext()
    import torch

    return torch.autocast(device.type, torch.bfloat16)


def round_weights(network: nn.Module, precision: Precision) -> None:
    """Round the weights of a frozen network's layers to bfloat16, if that is the precision.

    Autocast would round them in every call, which takes a third of the time of a single photo
    (benchmarks/precision.py). Weights of norms, and those of the network itself, stay in float32.
    """
    if precision == "float32":
        return
    import torch
    from torch import nn

    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.MultiheadAttention)):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(torch.bfloat16)


def widened(x: torch.Tensor) -> torch.Tensor:
    """Return x in float32 if it is in bfloat16, else x itself."""
    import torch

    return x.float() if x.dtype == torch.bfloat16 else x


def _support(device: torch.device) -> str:
    """Return what computes bfloat16 in hardware, in words; empty if nothing is known to."""
    import torch

    if device.type == "cuda":
        with torch.cuda.device(device):
            has = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.cuda.get_device_name() if has else ""
    if device.type != "cpu":
        return ""
    has = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot say
    return next((name for flag, name in IN_HARDWARE.items() if has.get(flag)), "")
