"""Read the settings and results of a job: what MLflow gets and `reclip compare` shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reclip.common.files import read_json
from reclip.pipeline.artifacts import CURVE_FILE, SCORES_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import read_receipt, recorded_outputs

SUFFIXES = (".png", ".md", ".csv", ".html", ".json")
MAX_FILES, MAX_BYTES = 20, 2_000_000
MAX_POINTS = 100  # of a curve: MLflow needs 0.2 ms for each, and a chart shows no more

Curves = dict[str, list[tuple[int, float]]]


@dataclass
class Record:
    """One run of MLflow: the results of a job, which `reclip.tracking.records` describes.

    Attributes:
        seed: None: of a job without seeds, or of a parent.
        curves: name of a value to its (step, value) points.
        data: the dataset, as arguments of MLflow's `Dataset`; None: the job reads none.
        split: the images of the dataset that the job reads.
        began, ended: seconds since 1970; None: not known.
    """

    name: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    seed: int | None = None
    data: dict[str, str] | None = None
    split: str = "train, val"
    began: float | None = None
    ended: float | None = None


def flatten(data: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested settings as (dotted key, value)."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from flatten(value, f"{at}.{key}" if at else str(key))
    else:
        yield at, data


def settings_of(job: Job) -> dict[str, Any]:
    """Return the settings that one job reads, without empty ones."""
    # These repeat settings of `hypotheses`.
    repeated = ("hypothesis_image", "hypothesis_windows")
    said = {k: v for k, v in job.wanted["settings"].items() if k not in repeated}
    if (sha256 := said.pop("weights", None)) and isinstance(sha256, str):
        # A student has the weights of a backbone beside those of CLIP.
        said["backbone_sha256" if job.stage == "distill" else "clip_sha256"] = sha256[:12]
    return {key: value for key, value in flatten(said) if value is not None and value != []}


def as_text(settings: dict[str, Any], limit: int | None = 500) -> dict[str, str]:
    """Return settings as MLflow stores them: as in the settings file, `limit` letters at most."""
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in settings.items()}
    return {name: text[:limit] for name, text in texts.items()}


def settings_behind(plan: Plan, run: str) -> dict[str, Any]:
    """Return all settings that a run's result depends on, sorted by key.

    Where two jobs have the same key, the job nearer to the result wins.
    """
    given = plan.params.runs[run]
    found = {"dataset": given.dataset, "method": given.method}
    found |= {role: named for role in ("teacher", "student") if (named := getattr(given, role))}
    if seeds := plan.experiment.seeds(run):
        found["seeds"] = list(seeds)
    for last in plan.results(run):
        for job in last.with_all_before:
            found = {**settings_of(job), **found}
    return dict(sorted(found.items()))


def readings(job: Job) -> Record:
    """Return the metrics, curves and small files of a finished job.

    Beyond MAX_FILES files, none is listed.
    """
    shown = [p for p in recorded_outputs(job) if p.suffix in SUFFIXES and p.is_file()]
    small = [p for p in shown if p.stat().st_size <= MAX_BYTES]
    record = Record(seed=job.seed, files=small if len(small) <= MAX_FILES else [])
    if job.stage == "evaluate":
        record.metrics = _scores(read_json(job.folder / SCORES_FILE))
    if job.folder / CURVE_FILE in small:
        record.curves = thinned(job.folder / CURVE_FILE)
    # What the receipt says of a training: figures as metrics, the verdict as a tag.
    if found := (read_receipt(job.receipt) or {}).get("health"):
        numbers = {k: v for k, v in found.items() if isinstance(v, (int, float))}
        record.metrics |= {f"health/{name}": value for name, value in numbers.items()}
        record.tags["health"] = found["verdict"]
    return record


def _scores(scores: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of a seed's evaluation."""
    found = {name: scores[name] for name in ("miou", "pixel_accuracy")}
    found |= {f"hypotheses/{name}": v for name, v in scores.get("hypotheses", {}).items()}
    return found | _per_class(dict(zip(scores["classes"], scores["iou"], strict=True)))


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
    """Return the IoUs under names that MLflow accepts and lists after the other metrics.

    Names that become equal by that get their class's number as well.
    """
    accepted = [re.sub(r"[^\w .:-]+", "-", name) for name in iou]
    found = {}
    for number, (name, value) in enumerate(zip(accepted, iou.values(), strict=True)):
        if value is not None:
            found[f"val_iou/{name}" + f" {number}" * (accepted.count(name) > 1)] = value
    return found


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
