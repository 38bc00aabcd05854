"""MLflow mirrors the results: files are the truth, this module alone knows MLflow.

A parent run a run id (or data set, or table), a child a stage and seed. What is logged is read back
from a job's files, so `reclip sync-mlflow` can log later what could not be logged at once. A fault
here never costs a result.
"""

from __future__ import annotations

import csv
import logging
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reclip.files import read_json
from reclip.jobs import Job
from reclip.plan import Plan

log = logging.getLogger(__name__)

# MLflow's own defaults hold every job up for four minutes when its server does not answer.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}

ARTIFACTS = (".png", ".md", ".csv")
MAX_ARTIFACT_BYTES = 2_000_000
MAX_PARAMS, MAX_METRICS = 100, 1000  # of one MLflow batch


@dataclass
class Child:
    """What one stage made with one seed."""

    seed: int | None
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    artifacts: list[Path] = field(default_factory=list)


# Set by a Snakemake run that logs its jobs when it ends.
LATER = "RECLIP_TRACKING_LATER"


def mirror(plan: Plan, job: Job) -> None:
    """Log a finished job, unless the run it is part of does so later; a failure is one warning."""
    if not os.environ.get(LATER):
        mirror_now(plan, job)


def mirror_now(plan: Plan, job: Job) -> None:
    """Log a finished job; a failure is one warning."""
    settings = plan.params.tracking
    if not settings.enabled:
        return
    uri = os.environ.get("MLFLOW_TRACKING_URI") or settings.uri
    try:
        with _store_lock(uri):
            _mirror(plan, job, uri)
    except Exception as error:  # whatever MLflow, its server or its database does
        log.warning(
            "tracking: %s was not logged to %s (%s); the result is whole, "
            "`reclip sync-mlflow` logs it later",
            job.name,
            uri,
            " ".join(str(error).split())[:200],
        )


@contextmanager
def _store_lock(uri: str) -> Iterator[None]:
    """One writer at a time for a SQLite store: its creation and its writes do not mix."""
    if not uri.startswith("sqlite:"):
        yield
        return
    from filelock import FileLock

    with FileLock(uri.removeprefix("sqlite:///") + ".lock", timeout=300):
        yield


def _mirror(plan: Plan, job: Job, uri: str) -> None:
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from mlflow.entities import Param
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(plan.params.experiment)
    experiment_id = (
        experiment.experiment_id if experiment else client.create_experiment(plan.params.experiment)
    )
    known = client.search_runs([experiment_id], f"tags.`reclip.job` = '{job.digest}'")
    logged = {run.data.tags.get("reclip.seed") for run in known if run.info.status == "FINISHED"}
    for run in known:
        if run.info.status != "FINISHED":  # an earlier attempt broke off
            client.delete_run(run.info.run_id)
    parent = _parent(client, experiment_id, job)
    for child in children(job):
        if str(child.seed) in logged:
            continue
        tags = {
            "mlflow.parentRunId": parent,
            "reclip.job": job.digest,
            "reclip.run": job.id,
            "reclip.stage": job.stage,
            "reclip.seed": str(child.seed),
            "mlflow.source.git.commit": git_commit(),
        }
        name = job.stage if child.seed is None else f"{job.stage} seed {child.seed}"
        run = client.create_run(experiment_id, tags=tags, run_name=name)
        run_id = run.info.run_id
        params = [Param(k, str(v)[:500]) for k, v in flatten(job.wanted["settings"])]
        for some in _chunks(params, MAX_PARAMS):
            client.log_batch(run_id, params=some)
        for some in _chunks(_metrics(child), MAX_METRICS):
            client.log_batch(run_id, metrics=some)
        _log_dataset(client, run_id, job)
        for path in child.artifacts:
            client.log_artifact(run_id, str(path))
        client.set_terminated(run_id)


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _metrics(child: Child) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    points = [(name, value, 0) for name, value in child.metrics.items()]
    points += [(n, value, step) for n, curve in child.curves.items() for step, value in curve]
    return [Metric(name, value, now, step) for name, value, step in points]


def _parent(client: Any, experiment_id: str, job: Job) -> str:
    found = client.search_runs([experiment_id], f"tags.`reclip.parent` = '{job.id}'")
    if found:
        return found[0].info.run_id
    tags = {"reclip.parent": job.id}
    run = client.create_run(experiment_id, tags=tags, run_name=job.id)
    client.set_terminated(run.info.run_id)
    return run.info.run_id


def _log_dataset(client: Any, run_id: str, job: Job) -> None:
    """The data set that the job read, with its digest."""
    data = job.inputs.get("data")
    if data is None:
        return
    from mlflow.entities import Dataset, DatasetInput

    dataset = Dataset(data.id, data.digest[:32], "local", str(data.folder))
    client.log_inputs(run_id, [DatasetInput(dataset)])


def children(job: Job) -> list[Child]:
    """What a job's files say, seed by seed; one child without a seed for stages that have none."""
    if job.stage == "evaluate":
        return _evaluation(job)
    files = [p for p in job.recorded_outputs() if p.is_file()]
    small = [p for p in files if p.suffix in ARTIFACTS and p.stat().st_size <= MAX_ARTIFACT_BYTES]
    curves = {p for p in small if p.stem.endswith("-curve")}
    if curves:
        return [
            Child(int(p.stem.split("-")[1]), curves=epoch_means(p), artifacts=[p])
            for p in sorted(curves)
        ]
    return [Child(None, artifacts=small if len(small) <= 20 else [job.receipt])]


def _evaluation(job: Job) -> list[Child]:
    """Metrics of each seed; the parent of several carries no number of its own."""
    metrics = read_json(job.outputs[0])
    found = []
    for result in metrics["seeds"]:
        per_class = {
            f"iou/{name}": value
            for name, value in zip(metrics["classes"], result["iou"], strict=True)
            if value is not None
        }
        values = {k: result[k] for k in ("miou", "pixel_accuracy")}
        extra = {f"hypotheses/{k}": v for k, v in metrics.get("hypotheses", {}).items()}
        found.append(
            Child(
                result["seed"],
                metrics={**values, **per_class, **extra},
                artifacts=[job.outputs[0], job.folder / "distance.csv"],
            )
        )
    return found


def epoch_means(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Mean of each curve over every epoch: a point an epoch is enough to look at."""
    sums: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with open(path, encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            for name in row.keys() - {"step", "epoch"}:
                sums[name][int(row["epoch"])].append(float(row[name]))
    return {
        name: [(epoch, sum(v) / len(v)) for epoch, v in sorted(epochs.items())]
        for name, epochs in sorted(sums.items())
    }


def flatten(data: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested settings as (dotted key, value)."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from flatten(value, f"{at}.{key}" if at else str(key))
    else:
        yield at, data


def git_commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
        return done.stdout.strip() or "none"
    except OSError:
        return "none"
