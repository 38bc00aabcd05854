"""Candidate masks, masked pooling and the contrastive loss of rectification (Sec. 3.4)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def gumbel_masks(
    m: Tensor,
    scale: float = 1000.0,
    tau: float = 1.0,
    noise: Tensor | None = None,
) -> Tensor:
    """Return candidate masks (..., n, C): the Gumbel-Softmax over classes of logits m (Eq. 4).

    The softmax is of (scale * m + g) / tau. The forward value is the one-hot argmax. The gradient
    is the softmax's (straight-through). The paper names tau_1 only; the rest is the official
    code's.

    noise: of the standard exponential distribution, like m; minus its logarithm is the standard
        Gumbel noise g. None: g is 0.
    """
    logits = scale * m
    if noise is not None:
        logits = logits - noise.log()
    soft = (logits / tau).softmax(dim=-1)
    one_hot = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return one_hot - soft.detach() + soft


def masked_pool(
    masks: Tensor, z: Tensor, valid: Tensor | None = None, over: Literal["all", "mask"] = "all"
) -> Tensor:
    """Return each class' pooled feature (B, C, D) from masks (B, n, C) and features z (B, n, D).

    The result is not normalised (official code).

    Args:
        valid: bool (B, n); other positions are padding and enter neither masks nor pools.
        over: "all" divides the sum over a mask by the number of valid positions. So the result
            grows with the mask's area (the paper's global average pooling of masked features).
            "mask" divides by the mask's size, at least 1.
    """
    if valid is not None:
        masks = masks * valid.unsqueeze(-1).to(masks.dtype)
    total = torch.einsum("bnc,bnd->bcd", masks, z)
    if over == "mask":
        return total / masks.sum(dim=1).clamp(min=1.0).unsqueeze(-1)
    if valid is None:
        return total / z.shape[1]
    return total / valid.sum(dim=1).clamp(min=1).view(-1, 1, 1)


def contrastive_loss(
    pooled: Tensor,
    w_query: Tensor,
    hypotheses: Tensor,
    tau: float = 0.01,
    images: int | None = None,
) -> Tensor:
    """Return the cross-entropy of each hypothesis' feature against all class texts (Eq. 5).

    pooled (B, C, D), w_query (C, D), hypotheses bool (B, C). The scalar is the mean over the
    hypotheses of an image, then over the batch. An image without hypotheses adds 0 but counts in
    the mean (official code). tau: 1 / CLIP's logit scale; the paper says "a constant". images: of
    the whole batch, if these B are a share of it.
    """
    # All B*C pairs are scored, and other classes weigh 0: fixed shapes avoid a wait for the GPU.
    log_p = F.log_softmax(torch.einsum("bcd,kd->bck", pooled, w_query) / tau, dim=-1)
    per_pair = -log_p.diagonal(dim1=1, dim2=2)  # (B, C): each class against its own text
    k = hypotheses.sum(dim=1).clamp(min=1)
    total = (per_pair * hypotheses).sum(dim=1).div(k).sum()
    return total / (len(pooled) if images is None else images)
