"""The linear classifier on a student's frozen features (LC of Table 1), after MaskContrast."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from reclip.data.images import IGNORED
from reclip.data.views import resize
from reclip.distill.deeplab import SegmentationHead, Student


def with_classifier(student: Student, classes: int) -> Student:
    """Return the student, frozen, with a new linear classifier as its head."""
    student.requires_grad_(False)
    head = SegmentationHead("classifier", classes, student.deeplab.config["dim"])
    nn.init.normal_(head.classifier.weight, std=0.01)  # MaskContrast
    nn.init.zeros_(head.classifier.bias)
    student.head = head
    return student


def losses(student: Student, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the cross-entropy of images (B, 3, H, W) with labels (B, H, W), IGNORED left out."""
    student.deeplab.eval()  # keeps the batch statistics of distillation
    logits, _ = student(images)
    full = resize(logits, labels.shape[-2:])
    return {"cross_entropy": F.cross_entropy(full, labels, ignore_index=IGNORED)}
