from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from reclip.rectify.loss import contrastive_loss, gumbel_masks, masked_pool
from reclip.training.share import draw


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_hard_masks_are_one_hot_with_the_gradient_of_the_softmax():
    m = torch.randn(2, 5, 4, generator=gen(), requires_grad=True)
    weight = torch.randn(2, 5, 4, generator=gen(1))
    hard = gumbel_masks(m, scale=3.0, tau=0.7)
    wanted = F.one_hot(m.argmax(-1), 4).float()
    torch.testing.assert_close(hard, wanted, rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad((hard * weight).sum(), m)
    soft = (3.0 * m / 0.7).softmax(-1)
    (soft_gradient,) = torch.autograd.grad((soft * weight).sum(), m)
    torch.testing.assert_close(gradient, soft_gradient)


def test_gumbel_noise_samples_the_softmax():
    logits = torch.tensor([1.0, 0.0, -1.0, 0.5])
    m = (logits / 1000).expand(1, 40_000, 4)
    share = gumbel_masks(m, noise=draw(1, (40_000, 4), gen())).mean(dim=1)[0]
    torch.testing.assert_close(share, logits.softmax(0), rtol=0, atol=0.01)


@pytest.mark.parametrize("over", ["all", "mask"])
@pytest.mark.parametrize("padded", [False, True])
def test_pooling_by_loops(over, padded):
    masks = gumbel_masks(torch.randn(2, 6, 3, generator=gen()))
    masks[1, :, 2] = 0  # a class that wins nothing
    z = torch.randn(2, 6, 5, generator=gen(1))
    valid = torch.ones(2, 6, dtype=torch.bool)
    if padded:
        valid[0, 4:] = valid[1, 1:3] = False
    wanted = torch.zeros(2, 3, 5)
    for b in range(2):
        for c in range(3):
            kept = [i for i in range(6) if valid[b, i]]
            total = sum(masks[b, i, c] * z[b, i] for i in kept)
            size = len(kept) if over == "all" else sum(masks[b, i, c] for i in kept)
            wanted[b, c] = total / max(size, 1)
    ours = masked_pool(masks, z, valid if padded else None, over)
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing():
    masks = gumbel_masks(torch.randn(1, 6, 3, generator=gen()))
    z = torch.randn(1, 6, 5, generator=gen(1))
    valid = torch.tensor([[True] * 4 + [False] * 2])
    for over in ("all", "mask"):
        alone = masked_pool(masks[:, :4], z[:, :4], over=over)
        torch.testing.assert_close(masked_pool(masks, z, valid, over), alone)


def test_loss_by_loops():
    pooled = torch.randn(3, 4, 5, generator=gen())
    w_query = F.normalize(torch.randn(4, 5, generator=gen(1)), dim=-1)
    present = [[0, 2, 3], [1], []]
    hypotheses = torch.zeros(3, 4, dtype=torch.bool)
    total = torch.zeros(())
    for b, classes in enumerate(present):
        hypotheses[b, classes] = True
        for c in classes:
            logits = (w_query @ pooled[b, c]) / 0.05
            total += F.cross_entropy(logits[None], torch.tensor([c])) / len(classes)
    loss = contrastive_loss(pooled, w_query, hypotheses, tau=0.05)
    torch.testing.assert_close(loss, total / 3)


def test_classes_that_are_no_hypothesis_get_no_gradient():
    pooled = torch.randn(2, 4, 5, generator=gen(), requires_grad=True)
    hypotheses = torch.tensor([[True, False, False, True], [False] * 4])
    contrastive_loss(pooled, torch.eye(5)[:4], hypotheses).backward()
    assert ((pooled.grad != 0).any(-1) == hypotheses).all()
