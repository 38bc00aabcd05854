"""Read the files of a finished job, seed by seed: metrics, curves and small files to show."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reclip.common.files import read_json
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import recorded_outputs

SUFFIXES = (".png", ".md", ".csv", ".html", ".json")
MAX_FILES, MAX_BYTES = 20, 2_000_000
MAX_POINTS = 100  # of a curve: MLflow needs 0.2 ms for each, and a chart shows no more

Curves = dict[str, list[tuple[int, float]]]
"""Name of a value to its (step, value) points."""


@dataclass
class Reading:
    """The results of one seed; seed None: of a job without seeds."""

    seed: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


def readings(job: Job) -> list[Reading]:
    """Read a finished job's files. Beyond MAX_FILES files, none is listed."""
    if job.stage == "evaluate":
        return _evaluation(job)
    small = [p for p in recorded_outputs(job) if p.suffix in SUFFIXES and _is_small(p)]
    curves = {int(m[1]): p for p in small if (m := re.fullmatch(r"seed-(\d+)-curve", p.stem))}
    if curves:
        return [Reading(seed, curves=thinned(p), files=[p]) for seed, p in sorted(curves.items())]
    return [Reading(files=small if len(small) <= MAX_FILES else [])]


def _is_small(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= MAX_BYTES


def _evaluation(job: Job) -> list[Reading]:
    metrics = read_json(job.outputs[0])
    files = [p for p in (job.outputs[0], job.folder / "distance.csv") if p.is_file()]
    shared = {f"hypotheses/{name}": v for name, v in metrics.get("hypotheses", {}).items()}
    found = []
    for result in metrics["seeds"]:
        values = {name: result[name] for name in ("miou", "pixel_accuracy")} | shared
        values |= _per_class(dict(zip(metrics["classes"], result["iou"], strict=True)))
        found.append(Reading(result["seed"], values, files=files))
    return found


def summary(metrics: dict[str, Any]) -> dict[str, float]:
    """Return the means over the seeds, and the sd of mIoU and pixel accuracy if there is one.

    Values are rounded as in the tables, because MLflow's list of runs shows every digit. The
    metrics of each seed are not rounded.
    """
    found = _per_class(mean_iou(metrics))
    for name in ("miou", "pixel_accuracy"):
        found |= {name: metrics[name]["mean"], f"{name}_sd": metrics[name]["sd"]}
    return {name: round(value, 2) for name, value in found.items() if value is not None}


def mean_iou(metrics: dict[str, Any]) -> dict[str, float | None]:
    """Return the IoU of each class, the mean over the seeds; None if the class never occurs."""
    found = {}
    for k, name in enumerate(metrics["classes"]):
        values = [r["iou"][k] for r in metrics["seeds"] if r["iou"][k] is not None]
        found[name] = sum(values) / len(values) if values else None
    return found


def _per_class(iou: dict[str, float | None]) -> dict[str, float]:
    """Return the IoUs under names that MLflow accepts and lists after the other metrics."""
    named = {re.sub(r"[^\w .:-]+", "-", name): value for name, value in iou.items()}
    return {f"val_iou/{name}": value for name, value in named.items() if value is not None}


def thinned(path: Path) -> Curves:
    """Read a training curve. Each point is the mean of the steps since the point before."""
    import pandas as pd  # takes half a second, and a job that logs nothing needs none

    rows = pd.read_csv(path)
    if rows.empty:
        return {}
    size = -(-len(rows) // MAX_POINTS)
    chunks = rows.groupby(rows.index // size)
    steps = chunks["step"].last().tolist()
    means = chunks.mean()[sorted(rows.columns.difference(["step", "epoch"]))]
    found = {name: list(zip(steps, values, strict=True)) for name, values in means.items()}
    # A loss of one term equals this term: keep the loss.
    return {n: curve for n, curve in found.items() if n == "loss" or curve != found.get("loss")}
