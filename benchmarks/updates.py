"""What the number of cached views and the number of updates do to rectification.

    python benchmarks/updates.py    # two tables; trains for over an hour

Makes the experiment `updates`: the paper's method on `mini`'s VOC with the committed settings,
over five seeds. The first table has data sets with other numbers of cached views. The second has
other batch sizes and rates; all see the same images. Each row has the updates of a training, the
held-out loss (no labels), mIoU, the difference to the committed recipe of the same seed, and how
the trainings went. Intervals are of 95%. Results are in results/updates/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mini
import numpy as np

from reclip.common.files import read_json
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan

SEEDS = [0, 1, 2, 3, 4]
COMMITTED = "voc-2views"
"""The dataset and the run with the committed settings."""

VIEWS = {"voc-2views": 2, "voc-4views": 4, "voc-8views": 8, "voc-new": 72}
"""Views of each dataset, which has a run of its name. With 72, each epoch has a new view."""

BATCHES: dict[str, dict[str, Any]] = {
    "batch-64-scaled": {"batch": 64, "lr": 0.04},
    "batch-64": {"batch": 64, "lr": 0.01},
    "batch-16-diverges": {"batch": 16, "lr": 0.16},
    "batch-4-scaled": {"batch": 4, "lr": 0.0025},
    "batch-4": {"batch": 4, "lr": 0.01},
}
"""Overrides of `rectify` by run, on the committed views."""

TABLES = {
    "views": {
        "voc-2views": "2 views (committed)",
        "voc-4views": "4 views",
        "voc-8views": "8 views",
        "voc-new": "a new view in each epoch (72)",
    },
    "batch and rate": {
        "batch-64-scaled": "batch 64, lr 0.04 (scaled)",
        "batch-64": "batch 64, lr 0.01",
        "voc-2views": "batch 16, lr 0.01 (committed)",
        "batch-16-diverges": "batch 16, lr 0.16",
        "batch-4-scaled": "batch 4, lr 0.0025 (scaled)",
        "batch-4": "batch 4, lr 0.01",
    },
}
"""Rows of each table: the run, and its name in words."""


def write_settings() -> Path:
    """Write the committed settings with the variants as the only datasets and runs."""
    voc = mini.committed()["datasets"]["voc"]
    datasets = {name: {**voc, "views": {"count": n}} for name, n in VIEWS.items()}
    runs: dict[str, Any] = {name: {"dataset": name} for name in VIEWS}
    runs |= {name: {"dataset": COMMITTED, "rectify": own} for name, own in BATCHES.items()}
    runs = {name: {"method": "rectify", "seeds": SEEDS, **own} for name, own in runs.items()}
    return mini.write_experiment("updates", datasets, runs)


def main() -> None:
    settings = write_settings()
    plan = Plan.load(settings)
    jobs = {run: mini.evaluations(plan, run) for run in plan.params.runs}
    mini.make(settings, (job.receipt for of_run in jobs.values() for job in of_run))
    for title, rows in TABLES.items():
        print(f"| {title} | updates | loss on held-out photos | mIoU | difference | trainings |")
        print("| --- | ---: | ---: | ---: | ---: | --- |")
        for run, name in rows.items():
            cells = _cells(jobs[run], None if run == COMMITTED else jobs[COMMITTED])
            print(f"| {name} | {' | '.join(cells)} |")
        print()


def _cells(jobs: list[Job], committed: list[Job] | None) -> list[str]:
    """Return a row: updates, held-out loss, mIoU, its difference, and how the seeds trained."""
    trained = [job.inputs["model"] for job in jobs]
    curves = [np.genfromtxt(t.folder / "held-out.csv", delimiter=",", names=True) for t in trained]
    healths = [read_json(one.receipt)["health"] for one in trained]
    verdicts = ["healthy" if h["verdict"] == "healthy" else "diverged" for h in healths]
    miou = _miou(jobs)
    difference = ""
    if committed is not None:
        base = dict(zip((job.seed for job in committed), _miou(committed), strict=True))
        difference = mini.mean([m - base[j.seed] for j, m in zip(jobs, miou, strict=True)], 1, "+")
    return [
        f"{healths[0]['steps']:,}",
        mini.mean([float(curve["loss"][-1]) for curve in curves], 3),
        mini.mean(miou, 1),
        difference,
        ", ".join(f"{verdicts.count(v)} {v}" for v in ("healthy", "diverged") if v in verdicts),
    ]


def _miou(jobs: list[Job]) -> list[float]:
    return [read_json(job.folder / "scores.json")["miou"] for job in jobs]


if __name__ == "__main__":
    main()
