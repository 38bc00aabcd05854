"""What is trained: a model with its batches and losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from reclip.training.share import Share


def no_counts(batch: Any) -> dict[str, Tensor]:
    """Return nothing: the losses divide by the number of images alone."""
    return {}


@dataclass
class Task:
    """A model to train, with its batches and losses.

    Threads call `load` and `counts` in advance, so they must not draw random numbers.

    Attributes:
        load: epoch and image indices to a batch on the CPU, tensors or tuples of them; there may be
            no index.
        losses: a batch on the model's device, which is a share of the whole one, to the weighted
            terms of the loss. It reads nothing back from the device, so a GPU need not wait.
        save: writes the trained weights.
        counts: numbers that the terms divide by, of a batch; integers.
        noise: the source of randomness, if `losses` needs any.
        noise_of: the shape of the noise of each image in a batch.
        norms_images: batch norms in training mode take their statistics over the images. False if
            they see no image, or if all are in evaluation mode.
    """

    model: nn.Module
    load: Callable[[int, np.ndarray], Any]
    losses: Callable[[Any, Share], dict[str, Tensor]]
    save: Callable[[Path], None]
    counts: Callable[[Any], dict[str, Tensor]] = no_counts
    noise: Generator | None = None
    noise_of: Callable[[Any], Sequence[int]] | None = None
    norms_images: bool = False

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device
