"""Stage `probe`: a linear classifier on the student's frozen features (LC of Table 1).

Only this stage reads training labels. As in MaskContrast, it trains one 1×1 convolution by SGD on
the cross-entropy. It keeps the last state, never the best one on val.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from reclip.clip.feature_cache import FeatureCache
from reclip.common.errors import ReclipError
from reclip.data.images import IGNORED, read_label
from reclip.data.index import DataSet
from reclip.device import precision, setup
from reclip.distill.deeplab import SegmentationHead, Student
from reclip.distill.losses import mask_loss
from reclip.distill.view_batches import ViewBatches
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.stages.train_seed import train_seed
from reclip.training.share import Share
from reclip.training.task import Task


def main(job: Job) -> None:
    """Write `weights.safetensors`, a Student with the classifier as its head, and its curve.

    Raises ReclipError: the dataset has no training labels.
    """
    compute = job.settings["compute"]
    device = setup(compute)
    in_force = precision.resolve(compute.precision, device)
    data = DataSet(job.inputs["data"].folder)
    items = data.items("train")
    truth = data.train_labels()
    if not truth:
        raise ReclipError(
            f"'{data.folder / 'train-labels.csv'}' lists no training labels, which linear "
            f"classification needs: restore the training photos' label maps, or drop run '{job.id}'"
        )
    features = FeatureCache(job.inputs["features"].folder)
    views = ViewBatches(items, features, lambda item: read_label(truth[item.id]))

    def load(epoch: int, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return views(epoch % features.view_count, rows)

    def start() -> Task:
        student = Student.load(job.inputs["student"].folder / WEIGHTS_FILE)
        student = with_classifier(student, data.num_classes).to(device)
        student.deeplab.precision = in_force
        return Task(
            student,
            load,
            losses=lambda batch, share: losses(student, *batch, share),
            save=student.save,
            counts=lambda batch: {"pixels": (batch[1] != IGNORED).sum()},
        )

    train_seed(job, len(items), start, lambda: precision.note(compute, in_force))


def with_classifier(student: Student, classes: int) -> Student:
    """Return the student, frozen, with a new linear classifier as its head."""
    student.requires_grad_(False)
    head = SegmentationHead("classifier", classes, student.deeplab.config["dim"])
    nn.init.normal_(head.classifier.weight, std=0.01)  # MaskContrast
    nn.init.zeros_(head.classifier.bias)
    student.head = head
    return student


def losses(
    student: Student, images: torch.Tensor, labels: torch.Tensor, share: Share
) -> dict[str, torch.Tensor]:
    """Return the cross-entropy of images (B, 3, H, W) with labels (B, H, W), IGNORED left out."""
    student.deeplab.eval()  # keeps the batch statistics of distillation
    return {"cross_entropy": mask_loss(student(images)[0], labels, share.counts.get("pixels"))}
