"""The form of bilinear resizing that GPUs take equals the one that the CPU takes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from reclip.cost.peak import peak
from reclip.data.resize_maps import resample, resize, resize_by_matrices


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


@pytest.mark.parametrize(("cell", "target"), [(14, 8), (14, 1), (32, 8), (8, 14)])
def test_resampled_cells_keep_their_places(cell: int, target: int) -> None:
    """A ramp over the photo stays the same ramp, up to the middle of the first and last cells."""
    side = 100
    rows, columns = -(-side // cell), -(-side // target)
    place = (torch.arange(rows) + 0.5) * cell
    ramp = torch.stack([place[:, None].expand(rows, rows), place.expand(rows, rows)])[None]
    found = resample(ramp, (columns, columns), cell, target)[0]
    middle = (torch.arange(columns) + 0.5) * target
    wanted = middle.clamp(float(place[0]), float(place[-1]))
    torch.testing.assert_close(found[0], wanted[:, None].expand(columns, columns))
    torch.testing.assert_close(found[1], wanted.expand(columns, columns))
    # `resize` moves them: it stretches the cells to the photo's edge.
    assert (resize(ramp, (columns, columns))[0] - found).abs().max() > 1


def test_cells_that_end_at_the_same_pixel_are_resized() -> None:
    x = torch.randn(1, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    for size, target in (((14, 14), 8), ((112, 112), 1), ((7, 7), 16)):
        assert torch.equal(resample(x, size, 16, target), resize(x, size))
