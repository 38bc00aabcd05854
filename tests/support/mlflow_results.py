"""Write results that no stage computed, for tests of tracking and recording."""

from __future__ import annotations

from pathlib import Path

from reclip.common.files import write_json, write_text
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish

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
    files = {f"seed-{seed}.safetensors": "weights" for seed in job.settings["seeds"]}
    return finish_with(
        job, files | {f"seed-{s}-curve.csv": curve(s) for s in job.settings["seeds"]}
    )


def finish_evaluation(job: Job, miou: float = 60.0) -> Job:
    seeds = job.settings["seeds"] or (None,)
    results = [
        {"seed": s, "miou": miou + k, "pixel_accuracy": 80.0, "iou": [50.123 + k, 70.0, None]}
        for k, s in enumerate(seeds)
    ]
    mean = miou + (len(seeds) - 1) / 2
    sd = None if len(seeds) == 1 else 0.70710678
    metrics = {
        "classes": CLASSES,
        "seeds": results,
        "job": job.digest,
        "miou": {"mean": mean, "sd": sd},
        "pixel_accuracy": {"mean": 80.0, "sd": None if sd is None else 0.0},
    }
    write_json(job.outputs[0], metrics)
    write_text(job.folder / "distance.csv", "seed,from\n")
    finish(job, [job.outputs[0], job.folder / "distance.csv"])
    return job


def finish_all(plan: Plan) -> None:
    """Finish every job of the plan."""
    for job in plan.jobs:
        if job.stage in ("rectify", "distill", "probe"):
            finish_training(job)
        elif job.stage == "evaluate":
            finish_evaluation(job)
        elif job.outputs:
            for path in job.outputs:
                write_text(path, job.name)
            finish(job, list(job.outputs))
        else:
            finish_with(job, {"made.csv": job.name})


def write_params(text: str) -> Plan:
    Path("params.yaml").write_text(text, encoding="utf-8")
    return Plan.load("params.yaml")
