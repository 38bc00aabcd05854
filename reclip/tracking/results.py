"""What the files of a finished job say, seed by seed: metrics, curves and what is worth a look."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reclip.common.files import read_json
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import recorded_outputs

SUFFIXES = (".png", ".md", ".csv", ".html", ".json")
MAX_FILES, MAX_BYTES = 20, 2_000_000
MAX_POINTS = 100  # of a curve; each costs a store 0.2 ms, and a chart shows no more

Curves = dict[str, list[tuple[int, float]]]


@dataclass
class Reading:
    """What one seed has come to; seed None: all of a job that has no seeds."""

    seed: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


def readings(job: Job) -> list[Reading]:
    """Read a finished job's files; more than a few are not listed one by one."""
    if job.stage == "evaluate":
        return _evaluation(job)
    small = [p for p in recorded_outputs(job) if p.suffix in SUFFIXES and _size(p) <= MAX_BYTES]
    curves = {int(m[1]): p for p in small if (m := re.fullmatch(r"seed-(\d+)-curve", p.stem))}
    if curves:
        return [Reading(seed, curves=thinned(p), files=[p]) for seed, p in sorted(curves.items())]
    return [Reading(files=small if len(small) <= MAX_FILES else [])]


def _size(path: Path) -> float:
    return path.stat().st_size if path.is_file() else float("inf")


def _evaluation(job: Job) -> list[Reading]:
    metrics = read_json(job.outputs[0])
    files = [p for p in (job.outputs[0], job.folder / "distance.csv") if p.is_file()]
    guessed = {f"hypotheses/{k}": v for k, v in metrics.get("hypotheses", {}).items()}
    return [
        Reading(
            result["seed"],
            {
                **{name: result[name] for name in ("miou", "pixel_accuracy")},
                **guessed,
                **_per_class(dict(zip(metrics["classes"], result["iou"], strict=True))),
            },
            files=files,
        )
        for result in metrics["seeds"]
    ]


def summary(metrics: dict[str, Any]) -> dict[str, float]:
    """What runs are compared by: means over the seeds, and their spread where there is one.

    Rounded as in the tables, for a list of runs shows every digit; each seed's are whole.
    """
    found = {}
    for name in ("miou", "pixel_accuracy"):
        found[name] = metrics[name]["mean"]
        if metrics[name]["sd"] is not None:
            found[f"{name}_sd"] = metrics[name]["sd"]
    found |= _per_class(mean_iou(metrics))
    return {name: round(value, 2) for name, value in found.items()}


def mean_iou(metrics: dict[str, Any]) -> dict[str, float | None]:
    """IoU of each class, the mean over the seeds; None for a class that occurs nowhere."""
    found = {}
    for k, name in enumerate(metrics["classes"]):
        values = [r["iou"][k] for r in metrics["seeds"] if r["iou"][k] is not None]
        found[name] = sum(values) / len(values) if values else None
    return found


def _per_class(iou: dict[str, float | None]) -> dict[str, float]:
    """As metrics that are listed after the others, under names that MLflow takes."""
    named = {re.sub(r"[^\w .:-]+", "-", name): value for name, value in iou.items()}
    return {f"val_iou/{name}": value for name, value in named.items() if value is not None}


def thinned(path: Path) -> Curves:
    """A training curve, each point the mean of the steps since the one before it."""
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    size = -(-len(rows) // MAX_POINTS) or 1
    chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
    names = sorted(rows[0].keys() - {"step", "epoch"}) if rows else []
    found = {
        name: [(int(c[-1]["step"]), sum(float(r[name]) for r in c) / len(c)) for c in chunks]
        for name in names
    }
    # The one term of a loss is the loss.
    return {n: curve for n, curve in found.items() if n == "loss" or curve != found.get("loss")}
