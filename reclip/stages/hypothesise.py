"""Stage `hypothesise`: image-level hypotheses of both splits (paper Sec. 3.4).

Hypotheses of the train split guide training and are never compared with labels. Evaluation
measures the precision and recall of the val split's, for diagnosis only.
"""

from __future__ import annotations

from reclip.clip.feature_cache import FeatureCache
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.rectify.hypotheses import hypothesise, scores_of, write_hypotheses
from reclip.rectify.model import Rectifier


def main(job: Job) -> None:
    """Write `train.csv` and `val.csv`, with a row per image id."""
    settings = job.settings["hypotheses"]
    features = FeatureCache(job.inputs["features"].folder)
    w_query = Rectifier.load(job.inputs["text"].folder / WEIGHTS_FILE).w_query
    outputs = []
    for split in ("train", "val"):
        scores = scores_of(features, split, w_query)
        found = hypothesise(scores, settings.threshold, settings.fallback_k)
        path = job.folder / f"{split}.csv"
        write_hypotheses(path, [entry["id"] for entry in features.images(split)], found)
        outputs.append(path)
    finish(job, outputs)
