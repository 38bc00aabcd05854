"""The three distillation losses (Sec. 3.5, Eqs. 6 to 8).

All three train the student. The official code takes the feature and text losses of a detached
feature, so its student learns from the mask loss alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reclip.clip.feature_cache import grid_of
from reclip.config.models import DistillSettings
from reclip.data.images import IGNORED
from reclip.data.resize_maps import resample, resize
from reclip.distill import OUTPUT_STRIDE
from reclip.rectify.loss import contrastive_loss, gumbel_masks, masked_pool
from reclip.training.share import Share


def mask_loss(logits: Tensor, labels: Tensor, pixels: Tensor | None = None) -> Tensor:
    """Return the cross-entropy with the pseudo-labels (Eq. 6), a mean over labelled pixels.

    Logits (B, C, h, w) are resized to labels (B, H, W). Eq. 6 divides by HW. The official code does
    so even for IGNORED pixels. Without padding the two are equal. pixels: labelled ones of the
    whole batch, if these B images are a share of it.
    """
    labels, on_cpu = labels.long(), logits.device.type == "cpu"
    if on_cpu:  # faster with the classes last in memory (benchmarks/mask_loss.py)
        logits = logits.contiguous(memory_format=torch.channels_last)
    grown = resize(logits, labels.shape[-2:])
    if on_cpu:
        grown, labels = grown.permute(0, 2, 3, 1).flatten(0, 2), labels.flatten()
    total = F.cross_entropy(grown, labels, ignore_index=IGNORED, reduction="sum")
    pixels = (labels != IGNORED).sum() if pixels is None else pixels
    return total / pixels.clamp(min=1)


def feature_loss(
    student: Tensor,
    teacher: Tensor,
    size: tuple[int, int] | None = None,
    valid: Tensor | None = None,
    cells: Tensor | None = None,
    patch: int | None = None,
) -> Tensor:
    """Return the mean L1 distance of student features (B, D, h, w) and CLIP's Z (B, D, h', w').

    Both are resized to `size`, by default the student's grid, else the pixels of the view. Only
    cells in `valid` count, bool (B, H, W) of any resolution. Eq. 7 does not say whether its norm is
    a sum or a mean; the mean is the official code's.

    Args:
        cells: valid ones of the whole batch, if these B images are a share of it.
        patch: side of Z's cells in pixels; the last may reach over the view's edge. None: Z ends
            with the view.
    """
    pixels = OUTPUT_STRIDE if size is None else 1
    size = tuple(student.shape[-2:] if size is None else size)
    target = resample(teacher, size, patch, pixels) if patch else resize(teacher, size)
    distance = (resize(student, size) - target).abs().mean(dim=1)
    if valid is None:
        return distance.mean()
    weight = _at_resolution(valid, size).to(distance.dtype)
    cells = weight.sum() if cells is None else cells
    return (distance * weight).sum() / cells.clamp(min=1)


def text_loss(
    feature: Tensor,
    logits: Tensor,
    w_q: Tensor,
    hypotheses: Tensor,
    settings: DistillSettings,
    valid: Tensor | None = None,
    share: Share | None = None,
) -> Tensor:
    """Return the contrastive loss (Sec. 3.4) of the student's features and masks.

    Features are pooled over all cells. Dividing by the mask's size would make the gradient through
    the masks ten times larger, and it would outweigh the mask loss.

    Args:
        feature: unit-length features (B, D, h, w).
        logits: (B, C, h, w) on the scale of the teacher's logits.
        w_q: Query embeddings (C, D).
        hypotheses: bool (B, C), the classes that each image may hold.
        settings: see `reclip.rectify.loss` for its Gumbel noise and temperatures.
        valid: bool (B, H, W) of any resolution; other cells enter no mask.
        share: of the whole batch, with the noise (b, h*w, C); None: the batch, without noise.
    """
    cells = None if valid is None else _at_resolution(valid, logits.shape[-2:]).flatten(1)
    noise = None if share is None else share.noise
    masks = gumbel_masks(_as_tokens(logits), settings.gumbel_scale, settings.gumbel_tau, noise)
    pooled = masked_pool(masks, _as_tokens(feature), cells)
    images = None if share is None else share.images
    return contrastive_loss(pooled, w_q, hypotheses, settings.tau, images)


def distillation_loss(
    logits: Tensor,
    feature: Tensor,
    labels: Tensor,
    teacher: Tensor,
    w_q: Tensor,
    hypotheses: Tensor,
    settings: DistillSettings,
    logit_scale: float,
    share: Share | None = None,
    patch: int | None = None,
) -> dict[str, Tensor]:
    """Return the weighted terms of Eq. 8: `mask`, `feature` and `text`; their sum is the loss.

    A term of weight 0 (alpha, beta) is not computed and missing. With `detach_feature` the feature
    and text losses are measured but train no weight (official code). `feature_resolution` says
    where features are compared. "image" is the paper's: the pixels of the input. "grid" is the
    student's, with 64 times fewer cells. At 512 x 512 and D = 512, "image" holds 0.5 GB of float32
    per image and tensor.

    Args:
        logits, feature: results of `Student`, (B, C, h, w) and (B, D, h, w).
        labels: pseudo-labels (B, H, W); IGNORED marks pixels that count in no loss.
        teacher: CLIP's unit-length Z (B, D, h', w') of the same views.
        w_q, hypotheses, share: see `text_loss`.
        logit_scale: factor on the logits in the mask loss.
        patch: see `feature_loss`.
    """
    valid = labels != IGNORED
    whole = {} if share is None else share.counts
    terms = {"mask": mask_loss(logits * logit_scale, labels, whole.get("pixels"))}
    if settings.detach_feature:
        logits, feature = logits.detach(), feature.detach()
    if settings.alpha > 0:
        size = labels.shape[-2:] if settings.feature_resolution == "image" else None
        terms["feature"] = settings.alpha * feature_loss(
            feature, teacher, size, valid, whole.get("cells"), patch
        )
    if settings.beta > 0:
        terms["text"] = settings.beta * text_loss(
            feature, logits, w_q, hypotheses, settings, valid, share
        )
    return terms


def counts(labels: Tensor, settings: DistillSettings) -> dict[str, Tensor]:
    """Return the numbers that the means of `distillation_loss` divide by, for labels (B, H, W).

    These are the labelled `pixels` and, if the feature loss is used, its valid `cells`.
    """
    valid = labels != IGNORED
    found = {"pixels": valid.sum()}
    if settings.alpha > 0:
        image = settings.feature_resolution == "image"
        size = labels.shape[-2:] if image else grid_of(labels.shape[-2:], OUTPUT_STRIDE)
        found["cells"] = _at_resolution(valid, size).sum()
    return found


def _as_tokens(x: Tensor) -> Tensor:
    """Return (B, D, h, w) as (B, h*w, D)."""
    return x.flatten(2).transpose(1, 2)


def _at_resolution(valid: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a bool map (B, H, W) as (B, h, w): a cell is True if its centre is."""
    return F.interpolate(valid[:, None].float(), size=tuple(size), mode="nearest-exact")[:, 0] > 0
