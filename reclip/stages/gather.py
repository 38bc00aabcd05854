"""Stage `gather`: join the evaluations of a run's seeds. Needs no torch."""

from __future__ import annotations

import numpy as np

from reclip.common.files import atomic, read_json, write_json
from reclip.common.tables import read_table, write_table
from reclip.evaluate.statistics import summarise
from reclip.pipeline.artifacts import (
    CONFUSION_FILE,
    DISTANCE_COLUMNS,
    DISTANCE_FILE,
    RINGS_FILE,
    SCORES_FILE,
)
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish

OF_SEED = ("seed", "miou", "pixel_accuracy", "iou")
"""The scores that differ between the seeds of a run."""


def main(job: Job) -> None:
    """Write metrics.json, and the confusion matrices, rings and mIoU by distance of all seeds."""
    evaluations = list(job.inputs.values())
    scores = [read_json(one.folder / SCORES_FILE) for one in evaluations]
    shared = {key: value for key, value in scores[0].items() if key not in OF_SEED}
    metrics = {
        "run": job.id,
        "dataset": job.settings["dataset"],
        "method": job.settings["method"],
        **shared,
        "job": job.digest,
        "seeds": [{key: one[key] for key in OF_SEED} for one in scores],
        **{name: summarise([s[name] for s in scores]) for name in ("miou", "pixel_accuracy")},
    }
    files = [job.folder / name for name in (CONFUSION_FILE, RINGS_FILE, DISTANCE_FILE)]
    for path in files[:2]:
        with atomic(path) as partial:
            np.save(partial, np.stack([np.load(one.folder / path.name) for one in evaluations]))
    rows = [
        (one.seed, *row.values())
        for one in evaluations
        for row in read_table(one.folder / DISTANCE_FILE, DISTANCE_COLUMNS)
    ]
    write_table(files[2], ("seed", *DISTANCE_COLUMNS), rows)
    write_json(job.outputs[0], metrics)
    finish(job, [*files, job.outputs[0]])
