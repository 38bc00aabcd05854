"""The loss of a batch and its gradient, over processes and micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from reclip.common.errors import ReclipError
from reclip.training import processes
from reclip.training.batch_norm import SplitBatchNorm
from reclip.training.batches import to_device
from reclip.training.share import Share, draw
from reclip.training.task import Task

Part = tuple[slice, Any, dict[str, Tensor]]
"""One micro-batch of this process: its rows in the whole batch, its batch and its counts."""


class Objective:
    """The loss of a task. In a process group, every process computes its share of each batch.

    compiled: the loss and its gradient become one graph (`torch.compile`), on a GPU a CUDA graph.
        The last bits of its numbers may differ.
    Raises ReclipError: several processes or micro-batches are to be compiled.
    """

    def __init__(
        self, task: Task, *, compiled: bool = False, micro_batch: int | None = None
    ) -> None:
        self.task = task
        self.losses: nn.Module = _Losses(task)
        if compiled:
            _require_whole_batches(micro_batch)
            on_gpu = task.device.type == "cuda"
            # Batches have two sizes, the usual one and an epoch's last: a graph for each.
            mode = "reduce-overhead" if on_gpu else "default"
            self.losses = torch.compile(self.losses, dynamic=False, mode=mode)
        if processes.count() > 1:
            self.losses = DistributedDataParallel(self.losses)
            self.losses.register_comm_hook(None, _add_gradients)

    def backward(self, images: int, parts: Sequence[Part]) -> dict[str, Tensor]:
        """Add the gradient of a batch to the parameters; return the terms of its loss.

        Args:
            images: of the whole batch.
            parts: micro-batches of this process. Their gradients are accumulated, and added up over
                the processes with the last one.
        """
        split = processes.count() > 1 or len(parts) > 1
        counts = self._whole_counts([counts for _, _, counts in parts]) if split else {}
        noise, found = None, {}
        for number, (rows, batch, _) in enumerate(parts):
            last = number == len(parts) - 1
            batch = to_device(batch, self.task.device)
            if noise is None and self.task.noise is not None:
                noise = draw(images, self.task.noise_of(batch), self.task.noise)
            share = Share(images, counts, None if noise is None else noise[rows])
            with self._no_sync(not last), self._norms(len(parts)):
                terms = self.losses(batch, share)
                sum(terms.values()).backward()
            for name, term in terms.items():
                found[name] = found.get(name, 0) + term.detach()
        if processes.count() == 1:
            return found
        return dict(zip(found, processes.add_up(torch.stack(list(found.values()))), strict=True))

    def _whole_counts(self, counts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        if not counts[0]:
            return {}
        own = torch.stack([torch.stack([*of_part.values()]) for of_part in counts]).sum(dim=0)
        return dict(zip(counts[0], processes.add_up(own.to(self.task.device)), strict=True))

    def _no_sync(self, wait: bool):
        return self.losses.no_sync() if wait and processes.count() > 1 else nullcontext()

    def _norms(self, micro_batches: int):
        over_processes = self.task.norms_images and processes.count() > 1
        if micro_batches == 1 and not over_processes:
            return nullcontext()
        return SplitBatchNorm(micro_batches, over_processes)


def _require_whole_batches(micro_batch: int | None) -> None:
    """Raise ReclipError unless one process computes each batch at a time."""
    if processes.count() > 1 or micro_batch is not None:
        raise ReclipError(
            "compute.compile is for whole batches in one process: set it to false, or compute.gpus "
            "to 1 and micro_batch to null"
        )


class _Losses(nn.Module):
    """The losses as a module, because DistributedDataParallel wraps the forward of one."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model = task.model
        self._losses = task.losses

    def forward(self, batch: Any, share: Share) -> dict[str, Tensor]:
        return self._losses(batch, share)


def _add_gradients(_, bucket):
    """Add the gradients over processes; DistributedDataParallel alone would average them.

    The loss is a mean over the whole batch already (`Share`). Without annotations, because
    DistributedDataParallel refuses those that are strings.
    """
    sent = distributed.all_reduce(bucket.buffer(), async_op=True)
    return sent.get_future().then(lambda done: done.value()[0])
