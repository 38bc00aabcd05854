"""Stage `pseudo-mask`: the teacher's masks of the training images, as palette PNGs (Sec. 3.5)."""

from __future__ import annotations

import torch
from tqdm import tqdm

from reclip.clip.feature_cache import FeatureCache
from reclip.data.images import write_label
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.pipeline.artifacts import mask_folder, teacher_file
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import predict_from_features


def main(job: Job) -> None:
    """Write `<seed>/<id>.png` at the photo's own size: every pixel gets its best class."""
    device = setup(job.settings["compute"])
    features = FeatureCache(job.inputs["features"].folder)
    data = DataSet(job.inputs["data"].folder)
    denoising = job.settings["pseudo_mask"]
    outputs = []
    for seed in job.settings["seeds"] or (None,):
        teacher = Rectifier.load(teacher_file(job.inputs["teacher"].folder, seed)).to(device)
        items = data.items("train")
        for i, item in enumerate(tqdm(items, desc=f"masks of {job.id}", disable=None)):
            with torch.inference_mode():
                mask = predict_from_features(teacher, features, "train", i, item, denoising)
            path = mask_folder(job.folder, seed) / f"{item.id}.png"
            write_label(path, mask.cpu().numpy(), data.num_classes)
            outputs.append(path)
    finish(job, outputs)
