"""What own photos lose by a smaller training: students of fewer steps and smaller crops.

    python benchmarks/students.py      # about 25 minutes on two cores

Makes the experiment `students`: `mini`'s VOC, whose scenes have labels that no training reads. The
sizes are those of `reclip init folder` without a GPU (reclip/presets/sizes.py): as many steps of 16
photos, and crops in the same proportion to the scenes (72 pixels, or 48 for 160 of 224). A row also
has the factor on the logits in the mask loss that is the official code's. Prints mIoU over three
seeds, and the difference to the large size seed by seed, with 95% intervals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mini

from reclip.common.files import read_json
from reclip.pipeline.plan import Plan

SEEDS = [0, 1, 2]
CROPS = {"large": 72, "small": 48}
# An epoch has 57 steps: 900 scenes in batches of 16.
STUDENTS = {
    "large: 399 steps, large crops": ("large", {"epochs": 7}),
    "medium: 399 steps, small crops": ("small", {"epochs": 7}),
    "small: 228 steps, small crops": ("small", {"epochs": 4}),
    "tiny: 114 steps, small crops": ("small", {"epochs": 2}),
    "228 steps, large crops": ("large", {"epochs": 4}),
    "114 steps, large crops": ("large", {"epochs": 2}),
    "large, unscaled cosines in the mask loss": ("large", {"epochs": 7, "logit_scale": 1}),
    "tiny, unscaled cosines in the mask loss": ("small", {"epochs": 2, "logit_scale": 1}),
}


def write_settings() -> Path:
    """Write the committed settings with a dataset for each crop, teachers and students."""
    voc = mini.committed()["datasets"]["voc"]
    datasets = {name: {**voc, "views": {"crop": crop}} for name, crop in CROPS.items()}
    runs: dict[str, Any] = {
        f"teacher-{name}": {"dataset": name, "method": "rectify", "seeds": SEEDS} for name in CROPS
    }
    for number, (dataset, changes) in enumerate(STUDENTS.values()):
        runs[f"student-{number}"] = {
            "dataset": dataset, "method": "distill", "teacher": f"teacher-{dataset}",
            "distill": changes, "seeds": SEEDS,
        }  # fmt: skip
    return mini.write_experiment("students", datasets, runs)


def main() -> None:
    settings = write_settings()
    plan = Plan.load(settings)
    jobs = {run: mini.evaluations(plan, run) for run in plan.params.runs}
    mini.make(settings, (job.receipt for of_run in jobs.values() for job in of_run))
    found = {
        run: [read_json(job.folder / "scores.json")["miou"] for job in of_run]
        for run, of_run in jobs.items()
    }
    names = {f"teacher-{name}": f"rectified, {name} crops" for name in CROPS}
    names |= {f"student-{number}": name for number, name in enumerate(STUDENTS)}
    print("| model | mIoU | against the large student |")
    print("| --- | ---: | ---: |")
    for run, name in names.items():
        apart = [a - b for a, b in zip(found[run], found["student-0"], strict=True)]
        other = mini.mean(apart, 1) if run.startswith("student") and any(apart) else ""
        print(f"| {name} | {mini.mean(found[run], 1)} | {other} |")


if __name__ == "__main__":
    main()
