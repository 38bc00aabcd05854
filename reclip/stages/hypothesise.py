"""Stage `hypothesise`: image-level hypotheses of both splits (paper Sec. 3.4).

Hypotheses of the train split guide training and are never compared with labels. Evaluation
measures the precision and recall of the val split's, for diagnosis only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.config.models import HypothesisSettings
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.rectify.hypotheses import (
    hypothesise,
    rises,
    score_shards,
    usual_scores,
    window_scores,
    winners,
    write_hypotheses,
)
from reclip.rectify.model import Rectifier


def main(job: Job) -> None:
    """Write `train.csv` and `val.csv`, with a row per image id."""
    features = FeatureCache(job.inputs["features"].folder)
    w_query = Rectifier.load(job.inputs["text"].folder / WEIGHTS_FILE).w_query
    classes = _classes(job.settings["hypotheses"], features, w_query)
    outputs = []
    for split in ("train", "val"):
        path = job.folder / f"{split}.csv"
        write_hypotheses(path, features.ids(split), classes(split))
        outputs.append(path)
    finish(job, outputs)


def _classes(
    settings: HypothesisSettings, features: FeatureCache, w_query: torch.Tensor
) -> Callable[[str], Iterator[torch.Tensor]]:
    """Return a function that yields the hypotheses of each image of a split, bool (C,)."""
    if settings.image == "windows":
        return lambda split: map(winners, window_scores(features, split, w_query))
    usual = usual_scores(features, w_query) if settings.relative else None

    def limited(scores: torch.Tensor) -> torch.Tensor:
        if settings.relative:
            return hypothesise(rises(scores, usual), settings.relative, 1)
        return hypothesise(scores, settings.threshold, settings.fallback_k)

    return lambda split: chain.from_iterable(map(limited, score_shards(features, split, w_query)))
