"""The runs that the figures compare, and their results on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.common.files import read_json
from reclip.common.tables import read_table
from reclip.data.index import DataSet
from reclip.evaluate.predictors import Predictor, hypotheses_and_truth, predictor
from reclip.pipeline.artifacts import (
    CONFUSION_FILE,
    CURVE_FILE,
    DISTANCE_COLUMNS,
    DISTANCE_FILE,
    HELD_OUT_FILE,
    RINGS_FILE,
)
from reclip.pipeline.job import Job

ROLES = {"query": "Query", "rectified": "rectified", "distilled": "distilled"}
"""Role to its name in a figure, in the order of the figures."""


@dataclass(frozen=True)
class Result:
    """One run's results. `job` is its gather job."""

    role: str
    job: Job

    @property
    def run(self) -> str:
        return self.job.id

    @property
    def evaluations(self) -> list[Job]:
        """The evaluate jobs of the run, a seed each."""
        return list(self.job.inputs.values())

    @property
    def label(self) -> str:
        return ROLES[self.role]

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The run's metrics.json."""
        return read_json(self.job.outputs[0])

    @cached_property
    def iou(self) -> np.ndarray:
        """IoU (S, C) in percent; NaN for a class that occurs nowhere."""
        return np.array([seed["iou"] for seed in self.metrics["seeds"]], dtype=float)

    @cached_property
    def confusion(self) -> np.ndarray:
        """Pixels (S, C, C) of class i predicted as j."""
        return np.load(self.job.folder / CONFUSION_FILE)

    @cached_property
    def rings(self) -> np.ndarray:
        """Pixels (S, rings, 3, C) by ring around the centre: right, predicted, labelled."""
        return np.load(self.job.folder / RINGS_FILE)

    @cached_property
    def distance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges (B + 1,) of the distance bins, objects (B,) in them, and mIoU (S, B) in percent."""
        rows = read_table(self.job.folder / DISTANCE_FILE, ("seed", *DISTANCE_COLUMNS))
        seeds = len({row["seed"] for row in rows})
        miou = np.array([float(row["miou"] or "nan") for row in rows]).reshape(seeds, -1)
        bins = rows[: miou.shape[1]]  # the same for every seed
        edges = [*(float(row["from"]) for row in bins), float(bins[-1]["to"])]
        return np.array(edges), np.array([int(row["objects"]) for row in bins]), miou

    @cached_property
    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Epoch (T,) and losses (S, T) of each row of the training curves."""
        files = [job.inputs["model"].folder / CURVE_FILE for job in self.evaluations]
        # A training of one step has one row, which numpy reads as a scalar.
        steps = [np.atleast_1d(np.genfromtxt(f, delimiter=",", names=True)) for f in files]
        return steps[0]["epoch"].astype(int), np.stack([s["loss"] for s in steps])

    @cached_property
    def held_out(self) -> np.ndarray | None:
        """Losses (S, E) on held-out photos after each epoch; None if no photo is held out."""
        files = [job.inputs["model"].folder / HELD_OUT_FILE for job in self.evaluations]
        if not files[0].is_file():
            return None
        epochs = [np.atleast_1d(np.genfromtxt(f, delimiter=",", names=True)) for f in files]
        return np.stack([e["loss"][1:] for e in epochs])

    @cached_property
    def hypotheses(self) -> tuple[np.ndarray, np.ndarray]:
        """Hypotheses of the val images and the classes in their label maps, each bool (N, C)."""
        return tuple(array.numpy() for array in hypotheses_and_truth(self.evaluations[0]))

    @cached_property
    def features(self) -> FeatureCache:
        return FeatureCache(self.evaluations[0].inputs["features"].folder)

    def predictors(self, device: torch.device) -> Iterator[Predictor]:
        """Return the predictor of each seed, one after another."""
        return (predictor(job, self.features, device) for job in self.evaluations)


@dataclass(frozen=True)
class Comparison:
    """The results on one dataset by role; roles without a run are missing."""

    dataset: str
    results: dict[str, Result]

    @cached_property
    def data(self) -> DataSet:
        result = next(iter(self.results.values()))
        return DataSet(result.evaluations[0].inputs["data"].folder)

    @cached_property
    def names(self) -> list[str]:
        """The first name of each class."""
        return [synonyms[0] for synonyms in self.data.class_names]

    @property
    def runs(self) -> str:
        """The names of the runs, for a note."""
        return ", ".join(result.run for result in self.results.values())


def mean_and_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation over seeds, the first axis; 0 for a single seed."""
    mean = values.mean(axis=0)
    sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
    return mean, sd


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Return up to `wanted` of 0..count-1 at equal distances: the choice uses no score."""
    wanted = min(count, wanted)
    return [(2 * k + 1) * count // (2 * wanted) for k in range(wanted)]
