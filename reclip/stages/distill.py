"""Stage `distill`: a DeepLabV2 student learns from the rectified CLIP (paper Sec. 3.5)."""

from __future__ import annotations

import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.data.images import read_label
from reclip.data.index import DataSet
from reclip.device import precision, setup
from reclip.distill.learn import build_student, load, losses, noise_of
from reclip.distill.losses import counts
from reclip.distill.view_batches import ViewBatches
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.rectify.hypotheses import read_hypotheses
from reclip.rectify.model import Rectifier
from reclip.stages.train_seed import train_seed
from reclip.training.task import Task


def main(job: Job) -> None:
    """Write `weights.safetensors` (a Student) and its training curve.

    A seed learns from the same seed of its teacher.
    """
    settings = job.settings["distill"]
    compute = job.settings["compute"]
    device = setup(compute)
    in_force = precision.resolve(compute.precision, device)
    data = DataSet(job.inputs["data"].folder)
    features = FeatureCache(job.inputs["features"].folder)
    items = data.items("train")
    hypotheses = read_hypotheses(
        job.inputs["hypotheses"].folder / "train.csv", items.ids, data.num_classes
    )

    def start() -> Task:
        teacher = Rectifier.load(job.inputs["teacher"].folder / WEIGHTS_FILE, device)
        masks = job.inputs["masks"].folder
        views = ViewBatches(items, features, lambda item: read_label(masks / f"{item.id}.png"))
        student = build_student(teacher, features.view_side, settings).to(device)
        student.deeplab.precision = in_force
        noise = torch.Generator(device).manual_seed(job.seed)
        return Task(
            student,
            load=lambda epoch, rows: load(views, hypotheses, epoch, rows),
            losses=lambda batch, share: losses(
                student, teacher.w_query, batch, share, settings, features.patch
            ),
            save=student.save,
            counts=lambda batch: counts(batch.labels, settings),
            noise=noise,
            noise_of=noise_of,
            norms_images=True,
        )

    train_seed(job, len(items), start, lambda: precision.note(compute, in_force))
