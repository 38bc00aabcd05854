"""Stage `distill`: a DeepLabV2 student learns from the rectified CLIP (paper Sec. 3.5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.common.files import atomic
from reclip.config.models import DistillSettings
from reclip.data.images import read_label
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.distill.losses import distillation_loss
from reclip.distill.view_batches import ViewBatches
from reclip.pipeline.artifacts import curve_file, mask_folder, teacher_file
from reclip.pipeline.job import Job
from reclip.rectify.hypotheses import read_hypotheses
from reclip.rectify.model import Rectifier, positional_logits
from reclip.stages.seeds import each_seed
from reclip.training.checkpoint import Checkpoint
from reclip.training.loop import train


def main(job: Job) -> None:
    """Write `seed-<s>.safetensors` (a Student) and its curve for every seed of the run.

    Seed s learns from the teacher's seed s.
    """
    settings = job.settings["distill"]
    device = setup(job.settings["compute"])
    data = DataSet(job.inputs["data"].folder)
    features = FeatureCache(job.inputs["features"].folder)
    items = data.items("train")
    found = read_hypotheses(
        job.inputs["hypotheses"].folder / "train.csv", [i.id for i in items], data.num_classes
    )

    def train_one(seed: int, path: Path, checkpoint: Checkpoint) -> None:
        taught = seed if job.settings["seeded_teacher"] else None
        teacher = Rectifier.load(teacher_file(job.inputs["teacher"].folder, taught), device)
        masks = mask_folder(job.inputs["masks"].folder, taught)
        batches = ViewBatches(items, features, lambda item: read_label(masks / f"{item.id}.png"))
        student = build_student(teacher, features, settings).to(device)
        noise = torch.Generator(device).manual_seed(seed)

        def load(epoch: int, rows: np.ndarray) -> tuple[torch.Tensor, ...]:
            number = epoch % len(features.views)
            images, labels = batches(number, rows)
            z = features.view_batch(number, rows)[0].permute(0, 3, 1, 2)
            return images, labels, z, found[rows]

        def losses(batch: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
            images, labels, z, hypotheses = (t.to(device) for t in batch)
            logits, feature = student(images)
            terms = distillation_loss(
                logits,
                feature,
                labels,
                z,
                teacher.w_query,
                hypotheses,
                alpha=settings.alpha,
                beta=settings.beta,
                detach=settings.detach_feature,
                logit_scale=student.head.logit_scale,
                resolution=settings.feature_resolution,
                gumbel_scale=settings.gumbel_scale,
                gumbel_tau=settings.gumbel_tau,
                tau=settings.tau,
                generator=noise,
            )
            weighted = {"mask": terms.mask}
            if terms.feature is not None:
                weighted["feature"] = settings.alpha * terms.feature
            if terms.text is not None:
                weighted["text"] = settings.beta * terms.text
            return weighted

        train(
            student,
            load,
            losses,
            settings,
            count=len(items),
            seed=seed,
            generators={"noise": noise},
            checkpoint=checkpoint,
            curve=curve_file(job.folder, seed),
            label=f"distill {job.id}, seed {seed}",
            loaders=job.settings["compute"].loaders,
        )
        with atomic(path) as partial:
            student.save(partial)

    each_seed(job, train_one)


def build_student(teacher: Rectifier, features: FeatureCache, settings: DistillSettings) -> Student:
    """DeepLabV2 with a new head, or one inherited from the teacher and frozen (Table 6)."""
    classes, dim = teacher.w_query.shape
    positional = None
    if teacher.positional is not None:
        side = features.views.shape[2]
        with torch.no_grad():
            positional = positional_logits(
                teacher.positional,
                teacher.positional_embedding,
                teacher.native_grid,
                (side, side),
            ).permute(2, 0, 1)
    head = SegmentationHead(
        settings.head,
        classes,
        dim,
        w_q=teacher.w_query,
        w_r=teacher.w_reference,
        positional=positional,
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
