"""Optimiser and learning-rate schedule of rectification, distillation and linear probe."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def poly_lr(step: int, total: int, base: float, power: float = 0.9, minimum: float = 0.0) -> float:
    """Polynomial decay `base * (1 - step / total) ** power`, never below `minimum`.

    `step` counts from 0 and may be updates or epochs, as `total` does. Power 0.9: paper,
    section 4.1. The paper names no minimum; the official code stops at 1e-4.
    """
    remaining = max(0.0, 1.0 - step / total)
    return max(minimum, base * remaining**power)


def make_sgd(
    params: Iterable[nn.Parameter],
    lr: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> torch.optim.SGD:
    """SGD over those of `params` that require a gradient.

    Rate and weight decay: paper, section 4.1. Momentum: official code (the paper has none).
    """
    trainable = [p for p in params if p.requires_grad]
    return torch.optim.SGD(trainable, lr=lr, momentum=momentum, weight_decay=weight_decay)
