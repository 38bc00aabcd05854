"""Write results that no stage computed, for tests of tracking and recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reclip.common.files import write_json, write_text
from reclip.pipeline.artifacts import (
    CONFUSION_FILE,
    CURVE_FILE,
    DISTANCE_COLUMNS,
    DISTANCE_FILE,
    RINGS_FILE,
    SCORES_FILE,
    WEIGHTS_FILE,
)
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish
from reclip.stages import gather

STEPS = 250
CLASSES = ["red dots", "tv/monitor", "nowhere"]


def curve(seed: int, steps: int = STEPS) -> str:
    rows = [
        f"{k},{k // 50},{0.01 * (1 - k / steps):.6g},{seed + 5 - k / steps}" for k in range(steps)
    ]
    return "\n".join(["step,epoch,lr,loss", *rows]) + "\n"


def finish_with(job: Job, files: dict[str, str]) -> Job:
    """Write these files and the receipt of the job."""
    paths = [job.folder / name for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        write_text(path, text)
    finish(job, paths)
    return job


def finish_training(job: Job) -> Job:
    return finish_with(job, {WEIGHTS_FILE: "weights", CURVE_FILE: curve(job.seed)})


def finish_trainings(plan: Plan, run: str) -> list[Job]:
    return [finish_training(job) for job in plan.trained(run)]


def finish_evaluation(job: Job, miou: float = 60.0) -> Job:
    k = job.seed or 0
    scores = {
        "seed": job.seed,
        "miou": miou + k,
        "pixel_accuracy": 80.0,
        "iou": [50.123 + k, 70.0, None],
        "classes": CLASSES,
    }
    distance = ",".join(DISTANCE_COLUMNS) + "\n0,1,2,50\n"
    write_text(job.folder / DISTANCE_FILE, distance)
    files = (SCORES_FILE, CONFUSION_FILE, RINGS_FILE, DISTANCE_FILE)
    np.save(job.folder / CONFUSION_FILE, np.eye(3, dtype=int))
    np.save(job.folder / RINGS_FILE, np.ones((2, 3, 3), dtype=int))
    write_json(job.folder / SCORES_FILE, scores)
    finish(job, [job.folder / name for name in files])
    return job


def finish_metrics(plan: Plan, run: str, miou: float = 60.0) -> Job:
    """Finish the evaluations of a run's seeds, and gather them as the stage does."""
    for job in plan.jobs_of("evaluate", run):
        finish_evaluation(job, miou)
    job = plan.job("gather", run)
    gather.main(job)
    return job


def finish_all(plan: Plan) -> None:
    """Finish every job of the plan."""
    for job in plan.jobs:
        if job.stage in ("rectify", "distill", "probe"):
            finish_training(job)
        elif job.stage == "evaluate":
            finish_evaluation(job)
        elif job.stage == "gather":
            gather.main(job)
        elif job.outputs:
            for path in job.outputs:
                write_text(path, job.name)
            finish(job, list(job.outputs))
        else:
            finish_with(job, {"made.csv": job.name})


def write_params(text: str) -> Plan:
    Path("params.yaml").write_text(text, encoding="utf-8")
    return Plan.load("params.yaml")
