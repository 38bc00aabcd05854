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
    generator: torch.Generator | None = None,
    hard: bool = True,
) -> Tensor:
    """Candidate masks (…, n, C) from rectified logits m (…, n, C): Gumbel-Softmax over C (Eq. 4).

    Softmax of (scale * m + noise) / tau. The noise is standard Gumbel, drawn from `generator` (on
    the device of m); None means no noise. hard: the forward value is the one-hot argmax, the
    gradient the softmax's (straight-through). The paper names tau_1 alone; scale 1000, tau 1 and
    hard masks are the official code's.
    """
    logits = scale * m
    if generator is not None:
        noise = torch.empty_like(logits).exponential_(generator=generator)
        logits = logits - noise.log()
    soft = (logits / tau).softmax(dim=-1)
    if not hard:
        return soft
    one_hot = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return one_hot - soft.detach() + soft


def masked_pool(
    masks: Tensor,
    z: Tensor,
    valid: Tensor | None = None,
    over: Literal["all", "mask"] = "all",
) -> Tensor:
    """Pooled feature of every class, (B, C, D), from masks (B, n, C) and features z (B, n, D).

    valid (B, n) bool: positions to count; the others (padding) enter neither mask nor pool.
    over: "all" divides the sum over a mask by the number of valid positions, so that it scales
    with the mask's area (the paper's global average pooling of the masked features); "mask"
    divides by the mask's size, at least 1. The result is not re-normalised (official code).
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
    pooled: Tensor, w_query: Tensor, hypotheses: Tensor, tau: float = 0.01
) -> Tensor:
    """Cross-entropy of each hypothesis' pooled feature against all class texts (Eq. 5), a scalar.

    pooled (B, C, D), w_query (C, D), hypotheses (B, C) bool. Mean over the K hypotheses of an
    image, then over the batch; an image without hypotheses adds 0 and is still divided by
    (official code). tau: 1 / CLIP's logit scale, 0.01 (the paper says "a constant").

    All B*C pairs are scored and those that are no hypotheses weigh 0: fixed shapes, no wait for
    the device.
    """
    log_p = F.log_softmax(torch.einsum("bcd,kd->bck", pooled, w_query) / tau, dim=-1)
    per_pair = -log_p.diagonal(dim1=1, dim2=2)  # (B, C): class c's own text
    k = hypotheses.sum(dim=1).clamp(min=1)
    return (per_pair * hypotheses).sum(dim=1).div(k).mean()
