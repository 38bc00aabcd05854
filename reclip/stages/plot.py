"""Stage `plot`: draw the figures of an experiment, and write the numbers of the planted biases."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from reclip.clip.load import MINI_CLIP
from reclip.common.tables import write_table
from reclip.device import setup
from reclip.evaluate.figures import (
    bias,
    confusion,
    curves,
    distance,
    examples,
    heatmaps,
    per_class,
    style,
)
from reclip.evaluate.figures.comparison import Comparison, Result
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish


def main(job: Job) -> None:
    """Write every figure of `reclip.pipeline.recipes.FIGURES`, and bias.csv."""
    device = setup(job.settings["compute"])
    comparisons = {
        dataset: Comparison(
            dataset,
            {role: Result(role, job.inputs[f"evaluate {run}"]) for role, run in roles.items()},
        )
        for dataset, roles in job.settings["compared"].items()
    }
    clip = job.settings["clip"]
    biased = clip.model == MINI_CLIP and clip.checkpoint is None
    measured = bias.measure(list(comparisons.values()), device) if biased else []
    write_table(job.folder / "bias.csv", bias.COLUMNS, [m.row for m in measured])
    with style.applied():
        if comparisons:
            figures = draw(comparisons, job.settings["pictured"], measured, device)
        else:
            empty = style.nothing("no run has method query, rectify or distill")
            figures = {path.name: empty for path in job.outputs if path.suffix == ".png"}
        for name, figure in figures.items():
            style.save(figure, job.folder / name)
    finish(job, list(job.outputs))


def draw(
    comparisons: dict[str, Comparison],
    pictured: str,
    measured: list[bias.Measured],
    device: torch.device,
) -> dict[str, Figure]:
    """Return the figures by file name. pictured: the dataset whose photos are shown."""
    every = list(comparisons.values())
    return {
        "examples.png": examples.draw(comparisons[pictured], device),
        "heatmaps.png": heatmaps.draw(comparisons[pictured], device),
        "distance.png": distance.draw(every),
        "confusion.png": confusion.draw(every),
        "per-class-iou.png": per_class.draw(every),
        "curves.png": curves.draw(every),
        "bias.png": bias.draw(measured),
    }
