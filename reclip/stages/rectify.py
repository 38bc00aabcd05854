"""Stage `rectify`: learn the bias of CLIP on cached features, without labels (paper Sec. 3.4)."""

from __future__ import annotations

import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.clip.load import load_clip
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.pipeline.artifacts import QUERY_FILE
from reclip.pipeline.job import Job
from reclip.rectify.hypotheses import read_hypotheses
from reclip.rectify.learn import build_model, load, losses
from reclip.rectify.model import Rectifier
from reclip.stages.seeds import each_seed
from reclip.training.loop import Task


def main(job: Job) -> None:
    """Write `seed-<s>.safetensors` (a Rectifier) and its training curve for each seed."""
    settings = job.settings["rectify"]
    device = setup(job.settings["compute"])
    clip = load_clip(job.settings["clip"], device)
    classes = DataSet(job.inputs["data"].folder).class_names
    features = FeatureCache(job.inputs["features"].folder)
    w_query = Rectifier.load(job.inputs["text"].folder / QUERY_FILE, device).w_query
    ids = [entry["id"] for entry in features.images("train")]
    hypotheses = read_hypotheses(job.inputs["hypotheses"].folder / "train.csv", ids, len(classes))

    def start(seed: int) -> Task:
        model = build_model(clip, classes, w_query, settings).to(device)
        noise = torch.Generator(device).manual_seed(seed)
        return Task(
            model,
            load=lambda epoch, rows: load(features, hypotheses, epoch, rows),
            losses=lambda batch: losses(model, batch, settings, noise),
            save=lambda path: model.freeze().save(path),
            noise=noise,
        )

    each_seed(job, len(ids), start)
