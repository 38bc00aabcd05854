"""Stage `plot`: draw the figures of an experiment, and write the numbers of the planted biases."""

from __future__ import annotations

from reclip.common.tables import write_table
from reclip.device import setup
from reclip.evaluate.figures import bias, by_class, curves, distance, examples, heatmaps, style
from reclip.evaluate.figures.comparison import Comparison, Result
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.weights.identity import MINI_CLIP


def main(job: Job) -> None:
    """Write every figure of `reclip.pipeline.recipes.FIGURES`, and bias.csv."""
    device = setup(job.settings["compute"])
    comparisons = {
        dataset: Comparison(
            dataset,
            {role: Result(role, job.inputs[f"gather {run}"]) for role, run in roles.items()},
        )
        for dataset, roles in job.settings["compared"].items()
    }
    clip = job.settings["clip"]
    biased = clip.model == MINI_CLIP and clip.checkpoint is None
    every, pictured = list(comparisons.values()), comparisons.get(job.settings["pictured"])
    measured = bias.measure(every, device) if biased else []
    write_table(job.folder / "bias.csv", bias.COLUMNS, [m.row for m in measured])
    figures = {
        "examples.png": lambda: examples.draw(pictured, device),
        "heatmaps.png": lambda: heatmaps.draw(pictured, device),
        "distance.png": lambda: distance.draw(every),
        "confusion.png": lambda: by_class.draw_confusion(every),
        "per-class-iou.png": lambda: by_class.draw_iou(every),
        "curves.png": lambda: curves.draw(every),
        "bias.png": lambda: bias.draw(measured),
    }
    with style.applied():
        if not every:
            empty = style.nothing("no run has method query, rectify or distill")
            figures = dict.fromkeys(figures, lambda: empty)
        for name, draw in figures.items():
            style.save(draw(), job.folder / name)
    finish(job, list(job.outputs))
