"""What a run gives on the val images: predictors, hypotheses, and the truth beside them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.config.models import RefinementSettings
from reclip.data.images import read_label
from reclip.data.index import DataSet, Item
from reclip.device import precision
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.rectify.hypotheses import read_hypotheses
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import predict_from_features

Predictor = Callable[[int, Item], torch.Tensor]
"""From the number of a val image and its item to a class map (H, W)."""

BY_CLIP = ("query", "rectify")
"""Methods that predict from CLIP's cached features; the others have a student."""


def processing_of(job: Job) -> RefinementSettings:
    """Return the post-processing of a run: of CLIP's logits, but not of a student's.

    A student learned from masks that were made with denoising and PAMR or without them. It sees the
    photo itself, so it has no need of its colours.
    """
    return job.settings["evaluate"] if job.settings["method"] in BY_CLIP else RefinementSettings()


def predictor(job: Job, features: FeatureCache, device: torch.device) -> Predictor:
    """Return the predictor of an evaluate job."""
    weights = job.inputs["model"].folder / WEIGHTS_FILE
    if job.settings["method"] in BY_CLIP:
        model, processing = Rectifier.load(weights, device), processing_of(job)
        return partial(predict_from_features, model, features, "val", processing=processing)
    from reclip.distill.deeplab import Student  # imports timm, which takes seconds
    from reclip.distill.predict import predict_by_student

    student = Student.load(weights).to(device)
    student.deeplab.precision = precision_of(job, device)
    return lambda _, item: predict_by_student(student, features, item, device)


def precision_of(job: Job, device: torch.device) -> precision.Precision:
    """Return the precision of an evaluate job's network; logits of cached features are float32."""
    if job.settings["method"] in BY_CLIP:
        return "float32"
    return precision.resolve(job.settings["compute"].precision, device)


def hypotheses_and_truth(job: Job) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an evaluate job's hypotheses of the val images and their classes, bool (N, C).

    The truth is for diagnoses only: no training reads it.
    """
    data = DataSet(job.inputs["data"].folder)
    items = data.items("val")
    path = job.inputs["hypotheses"].folder / "val.csv"
    found = read_hypotheses(path, [item.id for item in items], data.num_classes)
    truth = torch.zeros_like(found)
    for row, item in zip(truth, items, strict=True):
        ids = np.unique(read_label(item.label))
        row[ids[ids < data.num_classes].astype(int)] = True
    return found, truth
