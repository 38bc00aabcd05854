"""Learn from a teacher: the student that the settings describe, its batches and its loss."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from reclip.clip.feature_cache import grid_of
from reclip.config.models import DistillSettings
from reclip.distill import OUTPUT_STRIDE
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.distill.losses import distillation_loss
from reclip.distill.view_batches import ViewBatches
from reclip.rectify.model import Rectifier
from reclip.training.share import Share


def build_student(teacher: Rectifier, side: int, settings: DistillSettings) -> Student:
    """Return DeepLabV2 with a new head, or with the teacher's frozen head (Table 6).

    side: height and width of the teacher's grid, in cells.
    """
    classes, dim = teacher.w_query.shape
    with torch.no_grad():
        positional = teacher.positional_logits((side, side))
    head = SegmentationHead(
        settings.head,
        classes,
        dim,
        w_q=teacher.w_query,
        w_r=teacher.w_reference,
        positional=None if positional is None else positional.permute(2, 0, 1),
        logit_scale=settings.logit_scale,
    )
    deeplab = DeepLabV2(
        settings.backbone,
        dim,
        backbone_args=settings.backbone_args,
        branch_relu=settings.branch_relu,
        pretrained=settings.pretrained,
        checkpoint=settings.checkpoint,
    )
    return Student(deeplab, head)


class Batch(NamedTuple):
    """A batch of one view."""

    images: torch.Tensor  # normalised photos (B, 3, H, W)
    labels: torch.Tensor  # pseudo-labels int64 (B, H, W)
    z: torch.Tensor  # CLIP's features (B, D, h, w)
    hypotheses: torch.Tensor  # bool (B, C)


def load(views: ViewBatches, hypotheses: torch.Tensor, epoch: int, rows: np.ndarray) -> Batch:
    """Return the training images `rows` in the view of the epoch."""
    number = epoch % views.features.view_count
    z, _ = views.features.view_batch(number, rows)
    return Batch(*views(number, rows), z.permute(0, 3, 1, 2), hypotheses[rows])


def noise_of(batch: Batch) -> tuple[int, int]:
    """Return the shape of an image's noise: the student's cells, and classes."""
    cells = math.prod(grid_of(batch.images.shape[-2:], OUTPUT_STRIDE))
    return cells, batch.hypotheses.shape[1]


def losses(
    student: Student,
    w_query: torch.Tensor,
    batch: Batch,
    share: Share,
    settings: DistillSettings,
    patch: int,
) -> dict[str, torch.Tensor]:
    """Return the weighted terms of Eq. 8 for a share of a batch.

    patch: side of the teacher's cells in pixels.
    """
    images, labels, z, hypotheses = batch
    logits, feature = student(images)
    return distillation_loss(
        logits, feature, labels, z, w_query, hypotheses, settings, student.head.logit_scale, share,
        patch,
    )  # fmt: skip
