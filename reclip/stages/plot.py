"""Stage `plot`: draw the figures of an experiment, and write the numbers of its biases."""

from __future__ import annotations

from reclip.common.tables import write_table
from reclip.device import setup
from reclip.evaluate.figures import (
    by_class,
    companions,
    curves,
    distance,
    examples,
    heatmaps,
    measured,
    preference,
    style,
)
from reclip.evaluate.figures.comparison import Comparison, Result
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.weights.identity import MINI_CLIP


def main(job: Job) -> None:
    """Write every figure and table of `reclip.pipeline.recipes.FIGURES` and FIGURE_TABLES."""
    device = setup(job.settings["compute"])
    comparisons = {
        dataset: Comparison(dataset, results(job, roles))
        for dataset, roles in job.settings["compared"].items()
    }
    clip = job.settings["clip"]
    planted = clip.model == MINI_CLIP and clip.checkpoint is None
    every, pictured = list(comparisons.values()), comparisons.get(job.settings["pictured"])
    in_captions = companions.measure(every) if planted else []
    write_table(job.folder / companions.TABLE, measured.COLUMNS, [m.row for m in in_captions])
    preferences = [
        preference.measure(
            dataset, role, result.run, result.confusion, result.rings, result.metrics["classes"]
        )
        for dataset, roles in job.settings["biased"].items()
        for role, result in results(job, roles).items()
    ]
    preference.write(job.folder, preferences)
    figures = {
        "examples.png": lambda: examples.draw(pictured, device),
        "heatmaps.png": lambda: heatmaps.draw(pictured, device),
        "distance.png": lambda: distance.draw(every),
        "confusion.png": lambda: by_class.draw_confusion(every),
        "per-class-iou.png": lambda: by_class.draw_iou(every),
        "curves.png": lambda: curves.draw(every),
        "preference.png": lambda: preference.draw(preferences),
        "companions.png": lambda: companions.draw(in_captions),
    }
    with style.applied():
        if not every:
            empty = style.nothing("no run has method query, rectify or distill")
            figures = dict.fromkeys(figures, lambda: empty)
        for name, draw in figures.items():
            style.save(draw(), job.folder / name)
    finish(job, list(job.outputs))


def results(job: Job, roles: dict[str, str]) -> dict[str, Result]:
    """Return the results of runs by role."""
    return {role: Result(role, job.inputs[f"gather {run}"]) for role, run in roles.items()}
