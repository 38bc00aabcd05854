"""Refuse weights that are not finite: with them every feature would be NaN, without an error."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

MASKS = ("attn_mask",)
"""Causal masks are -inf by design, and no weights."""


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return which tensor is not finite in float32, and how, as `NaN in <name>`; None if all are.

    A number of float64 may be too large for float32, in which CLIP and students compute.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or name.rpartition(".")[2] in MASKS:
            continue
        single = tensor.float()
        if torch.isfinite(single).all():
            continue
        if single.isnan().any():
            return f"NaN in {name}"
        if torch.isfinite(tensor.double()).all():
            return f"numbers too large for float32 in {name}"
        return f"infinity in {name}"
    return None
