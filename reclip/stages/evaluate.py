"""Stage `evaluate`: measure a run's seed on the val split, on whole images, by its last state."""

from __future__ import annotations

import numpy as np
import torch
from tqdm import tqdm

from reclip.clip.feature_cache import FeatureCache
from reclip.common.files import atomic, write_json
from reclip.common.tables import write_table
from reclip.data.images import read_label
from reclip.data.index import DataSet
from reclip.device import precision, setup
from reclip.evaluate.counts import Counts
from reclip.evaluate.metrics import iou, miou, pixel_accuracy
from reclip.evaluate.predictors import (
    BY_CLIP,
    hypotheses_and_truth,
    precision_of,
    predictor,
    processing_of,
)
from reclip.pipeline.artifacts import (
    CONFUSION_FILE,
    DISTANCE_COLUMNS,
    DISTANCE_FILE,
    RINGS_FILE,
    SCORES_FILE,
)
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.rectify.predict import post_processing, protocol


def main(job: Job) -> None:
    """Write the scores, the confusion matrix, and the results by distance from the centre."""
    settings = job.settings
    device = setup(settings["compute"])
    data = DataSet(job.inputs["data"].folder)
    features = FeatureCache(job.inputs["features"].folder)
    predict, items = predictor(job, features, device), data.items("val")
    counts = Counts(data.num_classes, settings["evaluate"].distance_bins)
    for i, item in enumerate(tqdm(items, desc=job.name, disable=None)):
        with torch.inference_mode():
            predicted = predict(i, item)
        counts.update(predicted, read_label(item.label), str(item.label))
    confusion = counts.confusion
    scores = {
        "seed": job.seed,
        "miou": 100 * miou(confusion),
        "pixel_accuracy": 100 * pixel_accuracy(confusion),
        "iou": [None if np.isnan(v) else 100 * float(v) for v in iou(confusion)],
        # The same for every seed of a run.
        "split": "val",
        "images": len(items),
        "protocol": protocol(features.image_settings),
        "post_processing": post_processing(processing_of(job)),
        "checkpoint": "last",
        "classes": [synonyms[0] for synonyms in data.class_names],
    }
    if settings["method"] == "query":
        scores["hypotheses"] = diagnose_hypotheses(job)
    arrays = {CONFUSION_FILE: confusion, RINGS_FILE: counts.rings}
    for name, array in arrays.items():
        with atomic(job.folder / name) as partial:
            np.save(partial, array)
    write_table(job.folder / DISTANCE_FILE, DISTANCE_COLUMNS, counts.distances.rows())
    write_json(job.folder / SCORES_FILE, scores)
    notes = {}
    if settings["method"] not in BY_CLIP:
        notes = precision.note(settings["compute"], precision_of(job, device))
    outputs = [job.folder / name for name in (SCORES_FILE, *arrays, DISTANCE_FILE)]
    finish(job, outputs, notes=notes)


def diagnose_hypotheses(job: Job) -> dict[str, float]:
    """Return precision and recall of the val images' hypotheses, as a diagnosis only."""
    found, truth = hypotheses_and_truth(job)
    right = int((found & truth).sum())
    return {
        "precision": 100 * right / max(1, int(found.sum())),
        "recall": 100 * right / max(1, int(truth.sum())),
        "mean_per_image": float(found.sum(1).float().mean()),
    }
