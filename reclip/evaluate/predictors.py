"""The predictors of a run: for each seed, a function from a val image to its class map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.config.models import DenoisingSettings
from reclip.data.index import Item
from reclip.pipeline.artifacts import seed_file, teacher_file
from reclip.pipeline.job import Job
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import predict_from_features

Predictor = Callable[[int, Item], torch.Tensor]
"""From the number of a val image and its item to a class map (H, W)."""

BY_CLIP = ("query", "rectify")
"""Methods that predict from CLIP's cached features; the others have a student."""


def denoising_of(job: Job) -> DenoisingSettings:
    """Return the prompt denoising of a run: for CLIP's logits, but not for a student's.

    A student learned from masks that were made with denoising or without it.
    """
    if job.settings["method"] in BY_CLIP:
        return job.settings["evaluate"]
    return DenoisingSettings()


def predictors(
    job: Job, features: FeatureCache, device: torch.device
) -> Iterator[tuple[int | None, Predictor]]:
    """Yield each seed of an evaluate job with its predictor; seed None is the untrained CLIP."""
    folder = job.inputs["model"].folder
    for seed in job.settings["seeds"] or (None,):
        if job.settings["method"] in BY_CLIP:
            model = Rectifier.load(teacher_file(folder, seed), device)
            yield seed, _rectifier_predictor(model, features, denoising_of(job))
        else:
            yield seed, student_predictor(seed_file(folder, seed), features, device)


def _rectifier_predictor(
    model: Rectifier, features: FeatureCache, denoising: DenoisingSettings
) -> Predictor:
    return lambda i, item: predict_from_features(model, features, "val", i, item, denoising)


def student_predictor(path: Path, features: FeatureCache, device: torch.device) -> Predictor:
    """Return the predictor of a distilled student."""
    from reclip.distill.deeplab import Student  # imports timm, which takes seconds
    from reclip.distill.predict import predict_by_student

    student = Student.load(path).to(device)
    return lambda i, item: predict_by_student(student, features, item, device)
