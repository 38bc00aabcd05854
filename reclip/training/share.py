"""Split a batch over processes and micro-batches, without a change of its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The part of a batch that one call of `Task.losses` gets.

    The terms of the loss are means over the whole batch. So a share divides its sums by the numbers
    of the whole batch, and the terms of all shares add up to those of the batch.

    Attributes:
        images: images of the whole batch.
        counts: what else the terms divide by, over the whole batch (`Task.counts`). Empty if the
            share is the whole batch, which can count itself.
        noise: the share's numbers of the standard exponential distribution (b, *Task.noise_of).
    """

    images: int
    counts: dict[str, Tensor] = field(default_factory=dict)
    noise: Tensor | None = None


def draw(images: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return exponential noise (images, *shape) for a whole batch, on the generator's device.

    A share gets its rows of it. So the numbers do not depend on the split, at the price that each
    process draws them all.
    """
    noise = torch.empty(images, *shape, device=generator.device)
    return noise.exponential_(generator=generator)


def split(images: int, rank: int, processes: int, micro_batch: int | None = None) -> list[slice]:
    """Return the shares of a process, one for each micro-batch: their rows in the batch.

    A micro-batch is computed by all processes together. So every process has as many shares, and
    the micro-batches do not depend on the number of processes. A share may be empty.

    Args:
        images: of the batch.
        rank: number of this process, of `processes`.
        micro_batch: images of a micro-batch; None: the batch.
    """
    shares = []
    for start in range(0, images, micro_batch or images):
        size = min(micro_batch or images, images - start)
        first, last = (start + size * r // processes for r in (rank, rank + 1))
        shares.append(slice(first, last))
    return shares
