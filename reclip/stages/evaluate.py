"""Stage `evaluate`: measure a run on the val split, on whole images, with the last checkpoint."""

from __future__ import annotations

import numpy as np
import torch
from tqdm import tqdm

from reclip.clip.feature_cache import FeatureCache
from reclip.common.files import atomic, write_json
from reclip.common.tables import write_table
from reclip.data.images import read_label
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.evaluate.location import DistanceBins
from reclip.evaluate.metrics import ConfusionMatrix, summarise
from reclip.evaluate.predictors import denoising_of, hypotheses_and_truth, predictors
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.rectify.predict import post_processing, protocol


def main(job: Job) -> None:
    """Write metrics.json, and for each seed the confusion matrix and the mIoU by distance."""
    settings = job.settings
    device = setup(settings["compute"])
    data = DataSet(job.inputs["data"].folder)
    features = FeatureCache(job.inputs["features"].folder)
    items = data.items("val")
    results, matrices, distance_rows = [], [], []
    for seed, predict in predictors(job, features, device):
        confusion = ConfusionMatrix(data.num_classes)
        distance = DistanceBins(data.num_classes, settings["evaluate"].distance_bins)
        for i, item in enumerate(tqdm(items, desc=f"evaluate {job.id}", disable=None)):
            with torch.inference_mode():
                predicted = predict(i, item)
            label = read_label(item.label)
            confusion.update(predicted, label, str(item.label))
            distance.update(predicted, label, str(item.label))
        results.append(
            {
                "seed": seed,
                "miou": 100 * confusion.miou(),
                "pixel_accuracy": 100 * confusion.pixel_accuracy(),
                "iou": [None if np.isnan(v) else 100 * float(v) for v in confusion.iou()],
            }
        )
        matrices.append(confusion.matrix)
        distance_rows += [(seed, *row) for row in distance.rows()]
    metrics = {
        "run": job.id,
        "dataset": settings["dataset"],
        "method": settings["method"],
        "split": "val",
        "images": len(items),
        "protocol": protocol(features.image_settings),
        "post_processing": post_processing(denoising_of(job)),
        "checkpoint": "last",
        "classes": [synonyms[0] for synonyms in data.class_names],
        "job": job.digest,
        "seeds": results,
        "miou": summarise([r["miou"] for r in results]),
        "pixel_accuracy": summarise([r["pixel_accuracy"] for r in results]),
    }
    if settings["method"] == "query":
        metrics["hypotheses"] = diagnose_hypotheses(job)
    confusion_path, distance_path = job.folder / "confusion.npy", job.folder / "distance.csv"
    with atomic(confusion_path) as partial:
        np.save(partial, np.stack(matrices))
    write_table(distance_path, ("seed", *DistanceBins.COLUMNS), distance_rows)
    write_json(job.outputs[0], metrics)
    finish(job, [confusion_path, distance_path, job.outputs[0]])


def diagnose_hypotheses(job: Job) -> dict[str, float]:
    """Return precision and recall of the val images' hypotheses, as a diagnosis only."""
    found, truth = hypotheses_and_truth(job)
    right = int((found & truth).sum())
    return {
        "precision": 100 * right / max(1, int(found.sum())),
        "recall": 100 * right / max(1, int(truth.sum())),
        "mean_per_image": float(found.sum(1).float().mean()),
    }
