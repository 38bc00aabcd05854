"""Peak memory of finished jobs, against what the cost model predicts for the CPU.

    python benchmarks/memory.py --params FILE [--params FILE ...]
    python benchmarks/memory.py --step IMAGES

The first reads what jobs noted in `logs/<experiment>/usage` (tracking must be on), if their results
are still fresh. It prints a line a stage: the job with the largest ratio of measured to predicted.

The second computes one step of the paper's student on VOC, on the CPU with random numbers: at 512
pixels the step outweighs the libraries, which it does not in small experiments. 2 images take 8 GB.
"""

from __future__ import annotations

import argparse
import math
import resource

import torch

from reclip.config.models import DistillSettings, ViewSettings
from reclip.cost.facts import Facts
from reclip.cost.memory import NEED_OF
from reclip.cost.network_memory import distill_step
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.distill.losses import distillation_loss
from reclip.pipeline.plan import Plan
from reclip.tracking import usage

MEGABYTE = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", action="append", metavar="FILE", default=[])
    parser.add_argument("--step", type=int, metavar="IMAGES")
    given = parser.parse_args()
    if given.params:
        of_jobs(given.params)
    if given.step:
        of_step(given.step)


def of_jobs(files: list[str]) -> None:
    """Print the table of finished jobs."""
    rows: dict[str, list[tuple[float, float, float, str]]] = {stage: [] for stage in NEED_OF}
    for file in files:
        plan = Plan.load(file)
        facts = Facts(plan)
        for job in plan.jobs:
            if (note := usage.read(job)) is None:
                continue
            measured = note["peak_memory_megabytes"] * usage.MEGABYTE / MEGABYTE
            predicted = NEED_OF[job.stage](facts, job.id).on_cpu / MEGABYTE
            name = f"{plan.params.experiment}, {job.key}"
            rows[job.stage].append((measured / predicted, measured, predicted, name))
    print("| stage | jobs | job with the largest ratio | measured, MB | predicted, MB | ratio |")
    print("| --- | --: | --- | --: | --: | --: |")
    for stage, found in rows.items():
        if found:
            ratio, measured, predicted, name = max(found)
            print(
                f"| `{stage}` | {len(found)} | {name} | {measured:,.0f} | {predicted:,.0f} | "
                f"{ratio:.2f} |"
            )


def of_step(images: int) -> None:
    """Compute a step of distillation and print by how much it raised the peak of this process."""
    settings, crop, classes, dim = DistillSettings(batch=images), ViewSettings().crop, 20, 512
    side = math.ceil(crop / 16)
    texts = torch.randn(classes, dim)
    student = Student(
        DeepLabV2(settings.backbone, dim),
        SegmentationHead(settings.head, classes, dim, w_q=texts, w_r=texts),
    )
    before = peak_bytes()
    labels, hypotheses = torch.zeros(images, crop, crop).long(), torch.ones(images, classes) > 0
    z, photos = torch.randn(images, dim, side, side), torch.randn(images, 3, crop, crop)
    terms = distillation_loss(*student(photos), labels, z, texts, hypotheses, settings, 1.0)
    sum(terms.values()).backward()
    measured = (peak_bytes() - before) / MEGABYTE
    predicted = distill_step(settings, dim, classes, crop, side**2) / MEGABYTE
    print(
        f"a step of {images} images of {crop}² pixels: measured {measured:,.0f} MB, predicted "
        f"{predicted:,.0f} MB, ratio {measured / predicted:.2f}"
    )


def peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on Linux


if __name__ == "__main__":
    main()
