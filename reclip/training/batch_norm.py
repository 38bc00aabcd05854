"""Batch normalisation of a batch that is split over processes or micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from reclip.device.precision import widened
from reclip.training.processes import add_up


class SplitBatchNorm(TorchFunctionMode):
    """Context in which every batch norm of a forward pass takes the split batch into account.

    torch's SyncBatchNorm is for GPUs only, and replaces modules of some classes. Here calls of
    `F.batch_norm` are replaced, which works on the CPU too and with every class of batch norm.

    Args:
        micro_batches: number of micro-batches of the batch. Each has its own statistics. Together
            they move the running statistics as far as a whole batch does.
        over_processes: take the statistics over the images of all processes.
    """

    def __init__(self, micro_batches: int, over_processes: bool) -> None:
        super().__init__()
        self.micro_batches = micro_batches
        self.over_processes = over_processes

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is F.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        momentum = 1 - (1 - momentum) ** (1 / self.micro_batches)
        if training and self.over_processes:
            mean, var, count = statistics(widened(x))
            if running_mean is not None and running_var is not None:
                with torch.no_grad():
                    running_mean.lerp_(mean, momentum)
                    running_var.lerp_(var * count / (count - 1).clamp(min=1), momentum)
            return _normalise(x, mean, var, weight, bias, eps).to(x.dtype)
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)


def statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (C,), biased variance (C,) and number of values of a channel, over all processes.

    x is (B, C, ...). B may differ between processes, and be 0 in some. The gradient takes all
    processes into account: it takes as many sums over them as the statistics do, which is two.
    """
    axes = [0, *range(2, x.dim())]
    own = x.numel() // x.shape[1]
    if own:
        own_var, own_mean = torch.var_mean(x, axes, correction=0)
    else:  # zeros with a gradient, so that this process takes part in the sums of backward
        own_var = own_mean = x.sum(axes)
    sums = add_up(torch.cat([own * own_mean, own_mean.new_tensor([float(own)])]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    var = add_up(own * (own_var + (own_mean - mean).square())) / count
    return mean, var, count


def _normalise(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Return (x - mean) / sqrt(var + eps) * weight + bias; of the large tensors it keeps only x."""
    factor = torch.rsqrt(var + eps)
    if weight is not None:
        factor = factor * weight
    offset = -mean * factor
    if bias is not None:
        offset = offset + bias
    shape = [1, -1, *[1] * (x.dim() - 2)]
    return torch.addcmul(offset.view(shape), x, factor.view(shape))
