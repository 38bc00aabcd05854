"""The three distillation losses of section 3.5 and their sum, Eq. 8.

All three have a gradient into the student. In the official code the feature and the text loss are
taken from a detached feature, so that there the student learns from the mask loss alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from reclip.data.images import IGNORED
from reclip.data.views import resize
from reclip.rectify.loss import contrastive_loss, gumbel_masks, masked_pool


def mask_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the pseudo-labels (Eq. 6), averaged over the pixels that have one.

    logits (B, C, h, w) are resized to labels (B, H, W), whose 255 is ignored. Eq. 6 divides by HW,
    as the official code does even for ignored pixels; without padding the two agree.
    """
    labels = labels.long()
    total = F.cross_entropy(
        resize(logits, labels.shape[-2:]), labels, ignore_index=IGNORED, reduction="sum"
    )
    return total / (labels != IGNORED).sum().clamp(min=1)


def feature_loss(
    student: Tensor,
    teacher: Tensor,
    size: tuple[int, int] | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """L1 distance of student features (B, D, h, w) and CLIP's Z (B, D, h', w'), Eq. 7.

    Both are resized to `size`, by default the student's grid, and the absolute difference is
    averaged over D and over the cells where `valid` (B, H, W), bool and of any resolution, holds.
    Eq. 7 does not say whether its norm is a sum or a mean: the mean is the official code's.
    """
    size = tuple(student.shape[-2:] if size is None else size)
    distance = (resize(student, size) - resize(teacher, size)).abs().mean(dim=1)
    if valid is None:
        return distance.mean()
    weight = _at_resolution(valid, size).to(distance.dtype)
    return (distance * weight).sum() / weight.sum().clamp(min=1)


def text_loss(
    feature: Tensor,
    logits: Tensor,
    w_q: Tensor,
    hypotheses: Tensor,
    *,
    gumbel_scale: float,
    gumbel_tau: float,
    tau: float,
    over: Literal["all", "mask"] = "all",
    valid: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The contrastive loss of section 3.4 on the student's features and the student's masks.

    Arguments:
        feature: unit-length features (B, D, h, w).
        logits: (B, C, h, w) on the scale of the teacher's.
        w_q: query embeddings (C, D).
        hypotheses: (B, C) bool, the classes that each image is taken to hold.
        gumbel_scale, gumbel_tau, tau, over, generator: see `reclip.rectify.loss`. With `over`
            "mask" the gradient through the masks is an order of magnitude larger, and drowns the
            mask loss.
        valid: (B, H, W) bool of any resolution; cells outside it enter no mask.
    """
    cells = None
    if valid is not None:
        cells = _at_resolution(valid, logits.shape[-2:]).flatten(1)
    masks = gumbel_masks(_as_tokens(logits), gumbel_scale, gumbel_tau, generator)
    pooled = masked_pool(masks, _as_tokens(feature), cells, over)
    return contrastive_loss(pooled, w_q, hypotheses, tau)


@dataclass(frozen=True)
class Losses:
    """Scalars of one step; a term of weight 0 is not computed and is None."""

    total: Tensor
    mask: Tensor
    feature: Tensor | None
    text: Tensor | None


def distillation_loss(
    logits: Tensor,
    feature: Tensor,
    labels: Tensor,
    teacher: Tensor | None,
    w_q: Tensor,
    hypotheses: Tensor,
    *,
    logit_scale: float,
    alpha: float = 0.5,
    beta: float = 0.5,
    detach: bool = False,
    resolution: Literal["image", "grid"] = "image",
    gumbel_scale: float,
    gumbel_tau: float,
    tau: float,
    over: Literal["all", "mask"] = "all",
    generator: torch.Generator | None = None,
) -> Losses:
    """Eq. 8: mask loss + alpha * feature loss + beta * text loss.

    Arguments:
        logits, feature: what `Student` returns, (B, C, h, w) and (B, D, h, w).
        labels: pseudo-labels (B, H, W); 255 marks pixels that count in none of the losses.
        teacher: CLIP's unit-length Z (B, D, h', w'), the same views; None only if alpha is 0.
        w_q, hypotheses, gumbel_scale, gumbel_tau, tau, over, generator: see `text_loss`.
        logit_scale: the head's factor on the logits in the mask loss.
        alpha, beta: weights; both 0.5 in the paper, section 3.5.
        detach: the feature and text losses are measured but reach no weight (official code).
        resolution: where features are compared. `image` is the paper's: the pixels of the input.
            `grid` is the student's, 64 times fewer; at 512 x 512 and D = 512 `image` holds
            0.5 GB of float32 per image and tensor.
    """
    valid = labels != IGNORED
    mask = mask_loss(logits * logit_scale, labels)
    total = mask
    feat = text = None
    if detach:
        logits, feature = logits.detach(), feature.detach()
    if alpha > 0:
        size = labels.shape[-2:] if resolution == "image" else None
        feat = feature_loss(feature, teacher, size, valid)
        total = total + alpha * feat
    if beta > 0:
        text = text_loss(
            feature,
            logits,
            w_q,
            hypotheses,
            gumbel_scale=gumbel_scale,
            gumbel_tau=gumbel_tau,
            tau=tau,
            over=over,
            valid=valid,
            generator=generator,
        )
        total = total + beta * text
    return Losses(total=total, mask=mask, feature=feat, text=text)


def _as_tokens(x: Tensor) -> Tensor:
    """(B, D, h, w) to (B, h*w, D)."""
    return x.flatten(2).transpose(1, 2)


def _at_resolution(valid: Tensor, size: tuple[int, int]) -> Tensor:
    """Bool map (B, H, W) at another resolution, (B, h, w): a cell counts if its centre does."""
    return F.interpolate(valid[:, None].float(), size=tuple(size), mode="nearest-exact")[:, 0] > 0
