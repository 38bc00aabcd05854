"""Stage `pseudo-mask`: a teacher's label maps of the training images (Sec. 3.5)."""

from __future__ import annotations

import torch
from tqdm import tqdm

from reclip.clip.feature_cache import FeatureCache
from reclip.data.images import write_label
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import predict_from_features


def main(job: Job) -> None:
    """Write `<id>.png` for each photo: a palette PNG of its size with the best class per pixel."""
    device = setup(job.settings["compute"])
    features = FeatureCache(job.inputs["features"].folder)
    data = DataSet(job.inputs["data"].folder)
    processing = job.settings["pseudo_mask"]
    items = data.items("train")
    outputs = []
    teacher = Rectifier.load(job.inputs["teacher"].folder / WEIGHTS_FILE).to(device)
    for i, item in enumerate(tqdm(items, desc=job.name, disable=None)):
        with torch.inference_mode():
            mask = predict_from_features(teacher, features, "train", i, item, processing)
        path = job.folder / f"{item.id}.png"
        write_label(path, mask.cpu().numpy(), data.num_classes)
        outputs.append(path)
    finish(job, outputs)
