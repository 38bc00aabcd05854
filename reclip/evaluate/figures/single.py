"""Single figures of finished runs with labels (Fig. 1), each with a caption file beside it.

`photo` draws Fig. 3 with the same helpers. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_text
from reclip.common.text import nearest
from reclip.evaluate.figures import captions, style
from reclip.evaluate.figures.comparison import Result
from reclip.evaluate.figures.confusion import draw_runs as draw_confusion
from reclip.evaluate.figures.confusion import most_confused
from reclip.evaluate.figures.distance import draw_runs as draw_distance
from reclip.pipeline.job import Job, snakemake
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale

MOST_RUNS = len(style.SERIES)
ALL = "all"


def chosen_runs(
    plan: Plan, dataset: str | None, runs: Sequence[str], roles: Sequence[str]
) -> tuple[str, list[str]]:
    """Return the dataset and its runs: `runs`, or by default the report's runs for `roles`.

    Raises ReclipError: an unknown name, runs on several datasets, too many runs, or none.
    """
    params = plan.params
    runs = list(dict.fromkeys(runs))
    require_known("no run", runs, params.runs)
    require_known("no dataset", [] if dataset is None else [dataset], params.datasets)
    of = list(dict.fromkeys(params.runs[run].dataset for run in runs)) or list(params.datasets)
    if dataset is None and len(of) > 1:
        what = "the runs are on" if runs else "there are"
        fix = "runs of one" if runs else "it with --dataset"
        raise ReclipError(f"{what} datasets {', '.join(of)}, and a figure shows one: name {fix}")
    dataset = of[0] if dataset is None else dataset
    if strange := next((run for run in runs if params.runs[run].dataset != dataset), None):
        raise ReclipError(
            f"run '{strange}' is on dataset '{params.runs[strange].dataset}', not '{dataset}': "
            f"remove it, or draw it in another figure"
        )
    if len(runs) > MOST_RUNS:
        raise ReclipError(f"{len(runs)} runs are too many for one figure: name {MOST_RUNS} at most")
    if not runs:
        compared = plan.experiment.compared(dataset)
        runs = [compared[role] for role in roles if role in compared]
    if not runs:
        raise ReclipError(f"dataset '{dataset}' has no {' or '.join(roles)} run: name its runs")
    return dataset, runs


def require_known(problem: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise ReclipError if a name is not known; `problem` begins the error."""
    if unknown := next((name for name in names if name not in known), None):
        raise ReclipError(f"{problem} '{unknown}'{nearest(unknown, known)}")


def require_fresh(jobs: Sequence[Job], params: str) -> None:
    """Raise ReclipError if a job's output is missing or stale.

    params: the settings file, for the command in the error.
    """
    for job in jobs:
        if reason := why_stale(job):
            target = job.outputs[0] if job.outputs else job.receipt
            raise ReclipError(f"{job.name} is stale ({reason}): run `{snakemake(target, params)}`")


def checked_output(plan: Plan, output: str) -> Path:
    """Return the path of a figure.

    Raises ReclipError: an unknown format, or a path among the results, where stages delete files.
    """
    path = Path(output)
    if path.suffix.lower() not in style.FORMATS:
        raise ReclipError(f"--output: '{output}' must end in {', '.join(style.FORMATS)}")
    if path.resolve().is_relative_to(plan.root.resolve()):
        raise ReclipError(
            f"--output: '{output}' lies among the experiment's results, where stages delete "
            f"unknown files: write it elsewhere"
        )
    return path


def evaluated(plan: Plan, dataset: str, runs: list[str], params: str, kind: str) -> list[Result]:
    """Return the runs' results on a dataset with labels.

    kind: what the figure shows, for the error.
    Raises ReclipError: the dataset has no labels, or a result is stale.
    """
    if not plan.experiment.labelled(dataset):
        raise ReclipError(
            f"dataset '{dataset}' has no labels, so {kind} cannot be computed: give its source "
            f"val_images and val_labels, or draw heatmaps"
        )
    jobs = [plan.job("evaluate", run) for run in runs]
    require_fresh(jobs, params)
    return [Result("query", job) for job in jobs]


def class_ids(given: str, names: Sequence[str]) -> list[int]:
    """Return the ids of classes named in `given`, separated by commas; `all` names every class.

    Raises ReclipError: an unknown name, or none.
    """
    if given.strip() == ALL and ALL not in names:
        return list(range(len(names)))
    wanted = list(filter(None, (" ".join(part.split()) for part in given.split(","))))
    require_known("--classes: no class", wanted, names)
    if not wanted:
        raise ReclipError("--classes names no class: write e.g. --classes 'cat, dog'")
    return list(dict.fromkeys(map(names.index, wanted)))


def distance(plan: Plan, dataset: str | None, runs: Sequence[str], output: str, params: str) -> str:
    """Draw mIoU by an object's distance from the centre. Return a message with the files."""
    path = checked_output(plan, output)
    dataset, runs = chosen_runs(plan, dataset, runs, ("query", "rectified", "distilled"))
    results = evaluated(plan, dataset, runs, params, "distance")
    bins = {run: plan.experiment.run_section(run, "evaluate").distance_bins for run in runs}
    if len(set(bins.values())) > 1:
        said = ", ".join(f"{run} {count}" for run, count in bins.items())
        raise ReclipError(
            f"the runs have different evaluate.distance_bins ({said}): draw one figure for each, "
            f"or give them the same value"
        )
    caption = captions.distance(dataset, results)
    return written(path, caption, draw_distance, results, dataset)


def confusion(
    plan: Plan,
    dataset: str | None,
    runs: Sequence[str],
    classes: str | None,
    top: int,
    output: str,
    params: str,
) -> str:
    """Draw where the pixels of some classes go. Return a message with the files.

    classes: names; None takes `top` classes of the pairs that Query confuses most.
    """
    path = checked_output(plan, output)
    dataset, runs = chosen_runs(plan, dataset, runs, ("query", "rectified"))
    query = plan.experiment.compared(dataset).get("query")
    by = query if query and plan.experiment.labelled(dataset) else runs[0]
    needed = [*runs, *([by] if classes is None and by not in runs else [])]
    results = evaluated(plan, dataset, needed, params, "confusion")
    names = read_json(results[0].job.outputs[0])["classes"]
    if classes is None:
        ids = most_confused(results[needed.index(by)].confusion, top)
        chosen = f"those of the pairs that {by} confuses most, chosen by its confusion matrix"
    else:
        ids, chosen = class_ids(classes, names), "as asked for"
    results = results[: len(runs)]
    caption = captions.confusion(dataset, results, ids, chosen)
    return written(path, caption, draw_confusion, results, ids, [names[k] for k in ids], dataset)


def written(path: Path, caption: str, draw: Callable[..., Figure], *given: Any) -> str:
    """Save `draw(*given)` in the figures' style, and its caption beside it. Return a message."""
    with style.applied():
        style.save(draw(*given), path)
    beside = path.with_suffix(".txt")
    write_text(beside, caption)
    return f"wrote {path}, and its caption to {beside}"
