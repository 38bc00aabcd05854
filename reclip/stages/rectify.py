"""Stage `rectify`: learn the bias of CLIP on cached features, without labels (paper Sec. 3.4)."""

from __future__ import annotations

import logging
from typing import Any

import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.clip.load import load_clip
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.pipeline.artifacts import CURVE_FILE, WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.rectify import health
from reclip.rectify.hypotheses import read_hypotheses
from reclip.rectify.learn import build_model, load, losses, noise_of
from reclip.rectify.model import Rectifier
from reclip.stages.train_seed import train_seed
from reclip.training.task import Task

log = logging.getLogger(__name__)


def main(job: Job) -> None:
    """Write `weights.safetensors` (a Rectifier) and its training curve.

    The receipt also says whether the training diverged; a warning is logged if it did.
    """
    settings = job.settings["rectify"]
    device = setup(job.settings["compute"])
    clip = load_clip(job.settings["clip"], device)
    classes = DataSet(job.inputs["data"].folder).class_names
    features = FeatureCache(job.inputs["features"].folder)
    query = Rectifier.load(job.inputs["text"].folder / WEIGHTS_FILE, device)
    ids = features.ids("train")
    hypotheses = read_hypotheses(job.inputs["hypotheses"].folder / "train.csv", ids, len(classes))

    def start() -> Task:
        model = build_model(clip, classes, query.w_query, settings).to(device)
        noise = torch.Generator(device).manual_seed(job.seed)
        return Task(
            model,
            load=lambda epoch, rows: load(features, hypotheses, epoch, rows),
            losses=lambda batch, share: losses(model, batch, share, settings),
            save=lambda path: model.freeze().save(path),
            noise=noise,
            noise_of=noise_of,
            norms_images=model.decoder is not None,  # the positional net sees no image
        )

    def notes() -> dict[str, Any]:
        names = [synonyms[0] for synonyms in classes]
        weights, curve = job.folder / WEIGHTS_FILE, job.folder / CURVE_FILE
        found = health.examine(weights, curve, query, features, hypotheses, names)
        said = health.notes(job.name, found, settings)
        for warning in said["warnings"]:
            log.warning("%s", warning)
        return said

    train_seed(job, len(ids), start, notes)
