"""The form of bilinear resizing that GPUs take equals the one that the CPU takes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from reclip.cost.peak import peak
from reclip.data.resize_maps import resize, resize_by_matrices


@pytest.mark.parametrize("size", [(96, 96), (37, 50), (3, 4), (7, 5), (1, 1)])
def test_both_forms_have_the_same_values_and_gradients(size) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, 5, requires_grad=True)
    weights = torch.randn(2, 3, *size)
    found = []
    for function in (resize, resize_by_matrices):
        y = function(x, size)
        (gradient,) = torch.autograd.grad((y * weights).sum(), x)
        found.append((y, gradient))
    (y, gradient), (other, other_gradient) = found
    torch.testing.assert_close(y, other, rtol=0, atol=3e-6)
    torch.testing.assert_close(gradient, other_gradient, rtol=1e-5, atol=1e-5)


def test_the_form_for_gpus_takes_less_memory_than_pytorchs() -> None:
    x, size = torch.empty(8, 16, 6, 6, device="meta", requires_grad=True), (96, 96)
    result = 8 * 16 * 96 * 96 * 4
    assert peak(lambda: resize_by_matrices(x, size).sum().backward()) < 2.3 * result

    def by_pytorch() -> None:
        torch.set_deterministic_debug_mode("warn")  # until `peak` sets it back
        functional.interpolate(x, size, mode="bilinear").sum().backward()

    assert peak(by_pytorch) > 4 * result
