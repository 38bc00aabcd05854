"""The runs that the figures compare, and their results on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.common.files import read_json
from reclip.common.tables import read_table
from reclip.data.index import DataSet
from reclip.evaluate.location import DistanceBins
from reclip.evaluate.metrics import ratio
from reclip.evaluate.predictors import Predictor, predictors
from reclip.evaluate.presence import hypotheses_and_truth
from reclip.pipeline.artifacts import curve_file
from reclip.pipeline.job import Job

ROLES = {"query": "Query", "rectified": "rectified", "distilled": "distilled"}
"""Role to its name in a figure, in the order of the figures."""


@dataclass(frozen=True)
class Result:
    """One run's results. `job` is its evaluate job."""

    role: str
    job: Job

    @property
    def run(self) -> str:
        return self.job.id

    @property
    def label(self) -> str:
        return ROLES[self.role]

    @cached_property
    def iou(self) -> np.ndarray:
        """IoU (S, C) in percent; NaN for a class that occurs nowhere."""
        seeds = read_json(self.job.outputs[0])["seeds"]
        return np.array([seed["iou"] for seed in seeds], dtype=float)

    @cached_property
    def confusion(self) -> np.ndarray:
        """Pixels (S, C, C) of class i predicted as j."""
        return np.load(self.job.folder / "confusion.npy")

    @cached_property
    def distance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges (B + 1,) of the distance bins, objects (B,) in them, and mIoU (S, B) in percent."""
        rows = read_table(self.job.folder / "distance.csv", ("seed", *DistanceBins.COLUMNS))
        seeds = len(dict.fromkeys(row["seed"] for row in rows))
        bins = len(rows) // seeds
        edges = [*(float(row["from"]) for row in rows[:bins]), float(rows[bins - 1]["to"])]
        objects = [int(row["objects"]) for row in rows[:bins]]
        miou = [float(row["miou"] or "nan") for row in rows]
        return np.array(edges), np.array(objects), np.array(miou).reshape(seeds, bins)

    @cached_property
    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Epoch (T,) and losses (S, T) of each training step."""
        folder = self.job.inputs["model"].folder
        tables = [
            np.genfromtxt(curve_file(folder, seed), delimiter=",", names=True)
            for seed in self.job.settings["seeds"]
        ]
        return tables[0]["epoch"].astype(int), np.stack([t["loss"] for t in tables])

    @cached_property
    def hypotheses(self) -> tuple[np.ndarray, np.ndarray]:
        """Hypotheses of the val images and the classes in their label maps, each bool (N, C)."""
        found, truth = hypotheses_and_truth(self.job)
        return found.numpy(), truth.numpy()

    def predictors(self, device: torch.device) -> Iterator[Predictor]:
        """Return the predictor of each seed, one after another."""
        features = FeatureCache(self.job.inputs["features"].folder)
        return (predict for _, predict in predictors(self.job, features, device))


@dataclass(frozen=True)
class Comparison:
    """The results on one dataset by role; roles without a run are missing."""

    dataset: str
    results: dict[str, Result]

    @property
    def _any(self) -> Result:
        return next(iter(self.results.values()))

    @cached_property
    def data(self) -> DataSet:
        return DataSet(self._any.job.inputs["data"].folder)

    @cached_property
    def names(self) -> list[str]:
        """The first name of each class."""
        return [synonyms[0] for synonyms in self.data.class_names]

    @cached_property
    def features(self) -> FeatureCache:
        return FeatureCache(self._any.job.inputs["features"].folder)

    @property
    def runs(self) -> str:
        """The names of the runs, for a note."""
        return ", ".join(result.run for result in self.results.values())


def mean_and_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation over seeds, the first axis; 0 for a single seed."""
    mean = values.mean(axis=0)
    sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
    return mean, sd


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Return counts (..., C, C) as percentages of each row's sum; NaN for a row without pixels."""
    total = np.broadcast_to(confusion.sum(axis=-1, keepdims=True), confusion.shape)
    return 100 * ratio(confusion, total)


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Return up to `wanted` of 0..count-1 at equal distances: the choice uses no score."""
    wanted = min(count, wanted)
    return [(2 * k + 1) * count // (2 * wanted) for k in range(wanted)]
