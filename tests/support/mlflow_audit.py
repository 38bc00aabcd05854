"""Check that MLflow has each finished job exactly once, complete, below its parent."""

from __future__ import annotations

from collections import Counter, defaultdict

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from reclip.common.files import read_json
from reclip.pipeline.artifacts import SCORES_FILE
from reclip.pipeline.job import Job
from support.mlflow_results import STEPS, curve


def runs_in(uri: str, experiment: str = "tiny") -> list[Run]:
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], max_results=5000)) if found else []


def wrong_in(uri: str, jobs: list[Job], experiment: str = "tiny") -> list[str]:
    """Return the faults of the store: results missing, double, incomplete or without parent."""
    client = MlflowClient(tracking_uri=uri)
    runs = runs_in(uri, experiment)
    found = []
    below = defaultdict(list)
    for run in runs:
        if run.info.status != "FINISHED":
            found.append(f"{run.info.run_name} is {run.info.status}")
        if run.data.tags["kind"] == "stage":
            below[run.data.tags["digest"]].append(run)
    rows = [r for r in runs if r.data.tags["kind"] != "stage"]
    twice = [name for name, n in Counter(row.info.run_name for row in rows).items() if n > 1]
    found += [f"two rows {name}" for name in twice]
    ids = {row.info.run_id for row in rows}
    for job in jobs:
        mine = below[job.digest]
        seeds = [run.data.tags.get("seed") for run in mine]
        if seeds != [None if job.seed is None else str(job.seed)]:
            found.append(f"{job.name} has children of the seeds {seeds}")
        for run in mine:
            if run.data.tags.get("mlflow.parentRunId") not in ids:
                found.append(f"{run.info.run_name} is below nothing")
            found += [f"{run.info.run_name}: {what}" for what in _wrong_values(client, run, job)]
    return found


def _wrong_values(client: MlflowClient, run: Run, job: Job) -> list[str]:
    """Return values that are missing, wrong or logged twice."""
    if job.stage in ("rectify", "distill", "probe"):
        points = client.get_metric_history(run.info.run_id, "loss")
        steps = [point.step for point in points]
        text = curve(int(run.data.tags["seed"])).splitlines()[1:]
        losses = [float(line.split(",")[-1]) for line in text]
        mean = sum(point.value for point in points) / max(len(points), 1)
        size = -(-STEPS // 100)
        if sorted(steps) != [min(k + size, STEPS) - 1 for k in range(0, STEPS, size)]:
            return [f"its curve has the steps {steps}"]
        return [] if abs(mean - sum(losses) / STEPS) < 0.02 else [f"its mean loss is {mean}"]
    if job.stage != "evaluate":
        return []
    scores = read_json(job.folder / SCORES_FILE)
    want = {"miou": scores["miou"], "pixel_accuracy": 80.0, "val_iou/red dots": scores["iou"][0]}
    got = {
        name: [m.value for m in client.get_metric_history(run.info.run_id, name)] for name in want
    }
    return [f"{n} is {got[n]}, not {v}" for n, v in want.items() if got[n] != [v]]
