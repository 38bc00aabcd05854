"""The processes of one training, one a GPU. A training in one process needs nothing of this."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def count() -> int:
    """Return the number of processes that train together; 1 without a process group."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def writes() -> bool:
    """Return whether this process writes files and shows progress. Only process 0 does."""
    return rank() == 0


def add_up(values: Tensor) -> Tensor:
    """Return the sum of `values` over the processes, with its gradient.

    All processes must call this, and the backward pass through it, in the same order.
    """
    return _Sum.apply(values) if count() > 1 else values


class _Sum(torch.autograd.Function):
    """The losses of all processes depend on a sum, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return _all_reduce(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _all_reduce(gradient)


def _all_reduce(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total
