"""What predicts for a run: of each of its seeds, image number and item to a class map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.config.models import DenoisingSettings
from reclip.data.index import Item
from reclip.pipeline.artifacts import seed_file
from reclip.pipeline.job import Job
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import predict_from_features


def denoising_of(job: Job) -> DenoisingSettings:
    """Prompt denoising is for CLIP's logits; a student was taught by masks that had it or not."""
    if job.settings["method"] in ("query", "rectify"):
        return job.settings["evaluate"]
    return DenoisingSettings()


def predictors(
    job: Job, features: FeatureCache, device: torch.device
) -> Iterator[tuple[int | None, Callable[[int, Item], torch.Tensor]]]:
    """For every seed (None: nothing was trained), image number and item to a class map."""
    folder, denoising = job.inputs["model"].folder, denoising_of(job)
    for seed in job.settings["seeds"] or (None,):
        if job.settings["method"] in ("query", "rectify"):
            path = folder / "query.safetensors" if seed is None else seed_file(folder, seed)
            model = Rectifier.load(path, device)
            yield (
                seed,
                lambda i, item, model=model: predict_from_features(
                    model, features, "val", i, item, denoising
                ),
            )
        else:
            yield seed, student_predictor(seed_file(folder, seed), features, device)


def student_predictor(path: Path, features: FeatureCache, device: torch.device):
    """The same for a distilled student (imports timm: seconds, so only where it is needed)."""
    from reclip.distill.deeplab import Student
    from reclip.distill.predict import predict_by_student

    student = Student.load(path).to(device)
    return lambda i, item: predict_by_student(student, features, item, device)
