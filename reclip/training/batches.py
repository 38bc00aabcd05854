"""Batches: in which order photos train, and how a batch comes to the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch.utils._pytree import tree_map_only


def batches(
    images: np.ndarray, size: int, epochs: int, seed: int, order: Literal["new", "same"] = "new"
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the epoch and the indices of each step, from those of all images to train with.

    An epoch's last batch may be smaller than `size`. order: "new" in each epoch, or the "same".
    """
    for epoch in range(epochs):
        drawn = epoch if order == "new" else 0
        places = np.random.default_rng([seed, drawn]).permutation(len(images))
        for start in range(0, len(images), size):
            yield epoch, np.sort(images[places[start : start + size]])


def pinned(batch: Any, device: torch.device) -> Any:
    """Return a batch whose tensors a GPU can copy while it computes; unchanged for the CPU."""
    if device.type != "cuda":
        return batch
    return tree_map_only(torch.Tensor, torch.Tensor.pin_memory, batch)


def to_device(batch: Any, device: torch.device) -> Any:
    """Return a batch on `device`; the copy of pinned memory goes on while the caller does."""
    return tree_map_only(torch.Tensor, lambda x: x.to(device, non_blocking=True), batch)
