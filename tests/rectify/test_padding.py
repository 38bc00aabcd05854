"""Padding of a view enters no mask, no pool and no loss; the official code lets it (`counted`)."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from reclip.config.models import DistillSettings, RectifySettings
from reclip.data.images import IGNORED
from reclip.distill.losses import distillation_loss
from reclip.rectify.learn import Batch, losses, noise_of
from reclip.rectify.model import BiasModel, PositionalNet
from reclip.training.share import Share, draw

CLASSES, DIM, SIDE = 3, 6, 4
COVERED = (2, 3)  # rows and columns of the view that hold image


def unit(*shape: int, seed: int) -> torch.Tensor:
    return functional.normalize(
        torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


def view(padding_seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One view, its padded cells filled with what the seed says, and where it holds image."""
    valid = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    valid[:, : COVERED[0], : COVERED[1]] = True
    image, padding = unit(1, SIDE, SIDE, DIM, seed=0), unit(1, SIDE, SIDE, DIM, seed=padding_seed)
    return torch.where(valid[..., None], image, padding), valid


def rectification_loss(padding: str, padding_seed: int) -> tuple[float, torch.Tensor]:
    torch.manual_seed(0)
    net = PositionalNet(5, CLASSES, (4, 4))
    model = BiasModel(unit(CLASSES, DIM, seed=1), torch.randn(1 + 4, 5), (2, 2), positional=net)
    settings = RectifySettings(padding=padding, gumbel_scale=20)
    batch = Batch(*view(padding_seed), torch.tensor([[True, False, True]]))
    share = Share(1, noise=draw(1, noise_of(batch), torch.Generator().manual_seed(3)))
    (loss,) = losses(model, batch, share, settings).values()
    loss.backward()
    return loss.item(), net[0].weight.grad.clone()


def test_padding_enters_neither_masks_nor_pools_nor_gradients() -> None:
    a, b = (rectification_loss("ignored", seed) for seed in (5, 6))
    assert a[0] == b[0] and torch.equal(a[1], b[1])


def test_counted_padding_changes_the_loss() -> None:
    a, b = (rectification_loss("counted", seed)[0] for seed in (5, 6))
    assert a != b
    assert a != rectification_loss("ignored", 5)[0]


@pytest.mark.parametrize("resolution", ["grid", "image"])
def test_padding_enters_no_loss_of_the_student(resolution) -> None:
    """Logits between two cells are read of both, so the last column of image cells reaches over
    the edge by one cell; all further padding has no gradient."""
    labels = torch.full((1, 16, 16), IGNORED)
    labels[:, :8, :12] = 1  # the view of COVERED at four pixels a cell
    feature = view(5)[0].permute(0, 3, 1, 2).clone().requires_grad_()
    w_q = unit(CLASSES, DIM, seed=1)
    found = distillation_loss(
        functional.conv2d(feature, w_q[:, :, None, None]), feature, labels,
        unit(1, SIDE, SIDE, DIM, seed=2).permute(0, 3, 1, 2), w_q,
        torch.tensor([[False, True, False]]),
        DistillSettings(feature_resolution=resolution, gumbel_scale=20.0, tau=0.1),
        logit_scale=10.0,
    )  # fmt: skip
    sum(found.values()).backward()
    reached = feature.grad[0].abs().sum(0) > 0
    assert reached[: COVERED[0], : COVERED[1]].all()
    assert not reached[COVERED[0] + 1 :].any() and not reached[:, COVERED[1] + 1 :].any()
