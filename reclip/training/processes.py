"""The processes of one training, one a GPU. A training in one process needs nothing of this."""

from __future__ import annotations

import torch
from torch import distributed


def count() -> int:
    """Return the number of processes that train together; 1 without a process group."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def writes() -> bool:
    """Return whether this process writes files and shows progress. Only process 0 does."""
    return rank() == 0


def add_up(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of `values` over the processes; it replaces `values`."""
    if count() > 1:
        distributed.all_reduce(values)
    return values
