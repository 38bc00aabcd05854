"""Stage `probe`: a linear classifier on the frozen student feature (LC of Table 1).

The one place where training labels are read. After MaskContrast: everything frozen but one 1×1
convolution, SGD, cross-entropy with 255 ignored; the last state counts, never the best on val.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from reclip.clip.feature_cache import FeatureCache
from reclip.common.errors import ReclipError
from reclip.common.files import atomic
from reclip.data.images import IGNORED, read_label
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.distill.deeplab import SegmentationHead, Student
from reclip.distill.view_batches import ViewBatches
from reclip.pipeline.artifacts import curve_file, seed_file
from reclip.pipeline.job import Job
from reclip.stages.seeds import each_seed
from reclip.training.checkpoint import Checkpoint
from reclip.training.loop import train


def main(job: Job) -> None:
    """Write `seed-<s>.safetensors`, a Student whose head is the linear classifier.

    Raises ReclipError: the dataset has no training labels.
    """
    settings = job.settings["probe"]
    device = setup(job.settings["compute"])
    data = DataSet(job.inputs["data"].folder)
    items = data.items("train")
    truth = data.train_labels()
    if not truth:
        raise ReclipError(
            f"'{data.folder / 'train-labels.csv'}' lists no training labels, which linear "
            f"classification needs: restore the training photos' label maps, or drop run '{job.id}'"
        )
    features = FeatureCache(job.inputs["features"].folder)
    batches = ViewBatches(items, features, lambda item: read_label(truth[item.id]))

    def train_one(seed: int, path: Path, checkpoint: Checkpoint) -> None:
        student = Student.load(seed_file(job.inputs["student"].folder, seed)).to(device)
        student.requires_grad_(False)
        head = SegmentationHead("classifier", data.num_classes, student.deeplab.config["dim"])
        nn.init.normal_(head.classifier.weight, std=0.01)  # MaskContrast
        nn.init.zeros_(head.classifier.bias)
        student.head = head.to(device)

        def load(epoch: int, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            return batches(epoch % len(features.views), rows)

        def losses(batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
            student.deeplab.eval()  # batch statistics stay as distilled
            images, labels = (t.to(device) for t in batch)
            logits, _ = student(images)
            full = functional.interpolate(
                logits, labels.shape[-2:], mode="bilinear", align_corners=False
            )
            return {"cross_entropy": functional.cross_entropy(full, labels, ignore_index=IGNORED)}

        train(
            student,
            load,
            losses,
            settings,
            count=len(items),
            seed=seed,
            generators={},
            checkpoint=checkpoint,
            curve=curve_file(job.folder, seed),
            label=f"probe {job.id}, seed {seed}",
            loaders=job.settings["compute"].loaders,
        )
        with atomic(path) as partial:
            student.save(partial)

    each_seed(job, train_one)
