"""From a patch grid to the photo's pixels: where each logit lands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reclip.evaluate.predict import upsample


def centres(count: int, cell: float) -> np.ndarray:
    return (np.arange(count) + 0.5) * cell - 0.5


def test_a_ramp_stays_a_ramp_through_both_steps() -> None:
    """Bilinear steps are exact on a linear function between the outermost cell centres."""
    grid_y, grid_x = np.meshgrid(centres(5, 8), centres(7, 8), indexing="ij")
    logits = torch.from_numpy(np.stack([grid_y, grid_x])).float()
    read, size = (37, 50), (74, 100)  # the padding to 40×56 is cut; the photo is twice as large
    full = upsample(logits, 8, read, size)
    assert full.shape == (2, *size)
    y, x = np.meshgrid(centres(74, 0.5), centres(100, 0.5), indexing="ij")
    inner = (y > 4.5) & (y < 35) & (x > 4.5) & (x < 48)
    assert np.abs(full[0].numpy() - y)[inner].max() < 1e-4
    assert np.abs(full[1].numpy() - x)[inner].max() < 1e-4


def test_padding_is_cut_and_not_squeezed_into_the_photo() -> None:
    logits = torch.zeros(2, 2, 2)
    logits[1, :, 1] = 1.0  # the right cell, which is mostly padding
    full = upsample(logits, 8, (16, 10), (16, 10))
    assert full.shape == (2, 16, 10)
    expected = np.clip((centres(10, 1) - 3.5) / 8, 0, 1)
    assert np.allclose(full[1].numpy(), expected, atol=1e-6)


def test_a_photo_read_at_its_own_size_takes_one_step() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    full = upsample(logits, 4, (16, 20), (16, 20))
    once = torch.nn.functional.interpolate(
        logits[None], (16, 20), mode="bilinear", align_corners=False
    )[0]
    assert torch.equal(full, once)


@pytest.mark.parametrize(
    ("grid", "read", "size"), [((1, 1), (3, 5), (7, 2)), ((2, 3), (9, 17), (1, 1))]
)
def test_any_size_goes(grid, read, size) -> None:
    full = upsample(torch.ones(2, *grid), 8, read, size)
    assert full.shape == (2, *size) and torch.allclose(full, torch.ones(1))


def test_classes_keep_their_places() -> None:
    logits = torch.zeros(4, 2, 2)
    for k in range(4):
        logits[k, k // 2, k % 2] = 1.0
    label = upsample(logits, 8, (16, 16), (32, 48)).argmax(0)
    corners = label[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.tolist() == [0, 1, 2, 3]
