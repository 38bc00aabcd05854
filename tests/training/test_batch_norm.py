"""Batch norms over the images of two processes, and over micro-batches."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from reclip.training.batch_norm import SplitBatchNorm
from support.gloo import together

IMAGES = 5


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, BatchNormAct2d])
@pytest.mark.parametrize("first", [3, 5, 0])  # images of process 0 of 2
def test_two_processes_normalise_as_one(norm: type[nn.Module], first: int) -> None:
    torch.manual_seed(0)
    x, weight = 3 + torch.randn(IMAGES, 4, 6, 6), torch.randn(IMAGES, 4, 6, 6)
    alone = norm(4).train()
    nn.init.normal_(alone.weight)
    nn.init.normal_(alone.bias)
    start = copy.deepcopy(alone)

    def run(layer: nn.Module, rows: slice) -> dict[str, torch.Tensor]:
        own = x[rows].clone().requires_grad_()
        out = layer(own)
        (out * weight[rows]).sum().backward()
        return {
            "out": out.detach(), "x": own.grad, "weight": layer.weight.grad,
            "bias": layer.bias.grad, "mean": layer.running_mean, "var": layer.running_var,
        }  # fmt: skip

    def share(rank: int) -> dict[str, torch.Tensor]:
        with SplitBatchNorm(1, over_processes=True):
            return run(start, slice(0, first) if rank == 0 else slice(first, IMAGES))

    wanted = run(alone, slice(0, IMAGES))
    one, other = together(2, share)
    for name in ("out", "x"):
        torch.testing.assert_close(torch.cat([one[name], other[name]]), wanted[name])
    for name in ("weight", "bias"):
        torch.testing.assert_close(one[name] + other[name], wanted[name], atol=2e-5, rtol=1e-5)
    for name in ("mean", "var"):
        assert torch.equal(one[name], other[name])
        torch.testing.assert_close(one[name], wanted[name])


def test_statistics_of_bfloat16_are_float32() -> None:
    """Two processes normalise bfloat16 as one normalises the same values in float32."""
    torch.manual_seed(0)
    x = (30 + torch.randn(4, 3, 16, 16)).bfloat16()
    plain, start = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    wanted = plain(x.float())

    def share(rank: int) -> dict[str, torch.Tensor]:
        with SplitBatchNorm(1, over_processes=True), torch.autocast("cpu", torch.bfloat16):
            out = start(x[2 * rank : 2 * rank + 2])
        return {"out": out.detach(), "mean": start.running_mean, "var": start.running_var}

    one, other = together(2, share)
    found = torch.cat([one["out"], other["out"]])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=0.01, atol=0.01)
    for name, value in {"mean": plain.running_mean, "var": plain.running_var}.items():
        torch.testing.assert_close(one[name], value, rtol=1e-5, atol=1e-5)


def test_micro_batches_move_the_running_statistics_as_far_as_a_batch() -> None:
    x = torch.randn(2, 3, 4, 4)
    whole, parts = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    whole(x)
    with SplitBatchNorm(3, over_processes=False):
        for _ in range(3):
            parts(x)
    torch.testing.assert_close(parts.running_mean, whole.running_mean)
    torch.testing.assert_close(parts.running_var, whole.running_var)


def test_evaluation_is_left_alone() -> None:
    norm = nn.BatchNorm2d(3).eval()
    x = torch.randn(2, 3, 4, 4)
    with SplitBatchNorm(2, over_processes=True):
        assert torch.equal(norm(x), nn.BatchNorm2d(3).eval()(x))
