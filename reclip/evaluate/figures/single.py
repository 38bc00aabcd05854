"""Single figures of finished runs, each with its caption beside it; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_text
from reclip.common.text import nearest
from reclip.pipeline.job import Job, snakemake
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale

FORMATS = (".png", ".pdf", ".svg")
MOST_RUNS = 7  # colours that are told apart
ALL = "all"


def chosen_runs(
    plan: Plan, dataset: str | None, runs: Sequence[str], roles: Sequence[str]
) -> tuple[str, list[str]]:
    """The dataset, and its runs: those named, or the ones that the report shows for `roles`.

    Raises ReclipError: an unknown name, runs on several datasets, too many, or none.
    """
    params = plan.params
    runs = list(dict.fromkeys(runs))
    for run in runs:
        if run not in params.runs:
            raise ReclipError(f"no run '{run}'{nearest(run, params.runs)}")
    if dataset is not None and dataset not in params.datasets:
        raise ReclipError(f"no dataset '{dataset}'{nearest(dataset, params.datasets)}")
    of = list(dict.fromkeys(params.runs[run].dataset for run in runs)) or list(params.datasets)
    if dataset is None and len(of) == 1:
        dataset = of[0]
    if dataset is None:
        what = "the runs are on" if runs else "there are"
        raise ReclipError(
            f"{what} datasets {', '.join(of)}, and a figure shows one: name "
            f"{'runs of one' if runs else 'it with --dataset'}"
        )
    if strange := next((run for run in runs if params.runs[run].dataset != dataset), None):
        raise ReclipError(
            f"run '{strange}' is on dataset '{params.runs[strange].dataset}', not '{dataset}': "
            f"leave it out, or draw it in a figure of its own"
        )
    if len(runs) > MOST_RUNS:
        raise ReclipError(f"{len(runs)} runs are too many for one figure: name {MOST_RUNS} at most")
    if not runs:
        compared = plan.experiment.compared(dataset)
        runs = [compared[role] for role in roles if role in compared]
    if not runs:
        raise ReclipError(f"dataset '{dataset}' has no {' or '.join(roles)} run: name its runs")
    return dataset, runs


def require_fresh(jobs: Sequence[Job], params: str) -> None:
    """Raises ReclipError: a job of these is not made yet, or with other settings."""
    for job in jobs:
        if reason := why_stale(job):
            target = job.outputs[0] if job.outputs else job.receipt
            raise ReclipError(f"{job.name} is stale ({reason}): run `{snakemake(target, params)}`")


def checked_output(plan: Plan, output: str) -> Path:
    """Raises ReclipError: no known format, or among the results, where stages clear up."""
    path = Path(output)
    if path.suffix.lower() not in FORMATS:
        raise ReclipError(f"--output: '{output}' must end in {', '.join(FORMATS)}")
    if path.resolve().is_relative_to(plan.root.resolve()):
        raise ReclipError(
            f"--output: '{output}' lies among the experiment's results, where stages remove what "
            f"is not theirs: write it elsewhere"
        )
    return path


def evaluated(plan: Plan, dataset: str, runs: list[str], params: str, kind: str) -> list:
    """The runs' results on a dataset with labels.

    Raises ReclipError: no labels, or a stale result.
    """
    from reclip.evaluate.figures.comparison import Result

    if not plan.experiment.labelled(dataset):
        raise ReclipError(
            f"dataset '{dataset}' has no labels, by which {kind} is measured: give its source "
            f"val_images and val_labels, or draw heatmaps"
        )
    jobs = [plan.job("evaluate", run) for run in runs]
    require_fresh(jobs, params)
    return [Result("query", job) for job in jobs]


def class_ids(given: str, names: Sequence[str]) -> list[int]:
    """Classes by their names, separated by commas; `all` for all.

    Raises ReclipError: an unknown name.
    """
    if given.strip() == ALL and ALL not in names:
        return list(range(len(names)))
    found = []
    for name in filter(None, (" ".join(part.split()) for part in given.split(","))):
        if name not in names:
            raise ReclipError(f"--classes: no class '{name}'{nearest(name, names)}")
        found.append(names.index(name))
    if not found:
        raise ReclipError("--classes names no class: write e.g. --classes 'cat, dog'")
    return list(dict.fromkeys(found))


def distance(plan: Plan, dataset: str | None, runs: Sequence[str], output: str, params: str) -> str:
    """mIoU by an object's distance from the centre. Returns what was written, in words."""
    from reclip.evaluate.figures import captions
    from reclip.evaluate.figures.distance import draw_runs

    path = checked_output(plan, output)
    dataset, runs = chosen_runs(plan, dataset, runs, ("query", "rectified", "distilled"))
    results = evaluated(plan, dataset, runs, params, "distance")
    bins = {run: plan.experiment.run_section(run, "evaluate").distance_bins for run in runs}
    if len(set(bins.values())) > 1:
        said = ", ".join(f"{run} {count}" for run, count in bins.items())
        raise ReclipError(
            f"the runs have different evaluate.distance_bins ({said}): draw them apart, or set it "
            f"alike"
        )
    return written(path, lambda: draw_runs(results, dataset), captions.distance(dataset, results))


def confusion(
    plan: Plan,
    dataset: str | None,
    runs: Sequence[str],
    classes: str | None,
    top: int,
    output: str,
    params: str,
) -> str:
    """Where the pixels of some classes go. Returns what was written, in words."""
    from reclip.evaluate.figures import captions
    from reclip.evaluate.figures.confusion import draw_runs, most_confused

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
    shown = [names[k] for k in ids]
    results = results[: len(runs)]
    return written(
        path,
        lambda: draw_runs(results, ids, shown, dataset),
        captions.confusion(dataset, results, ids, chosen),
    )


def written(path: Path, draw, caption: str) -> str:
    """Draw in the figures' style and save; the caption lies beside the picture."""
    from reclip.evaluate.figures import style

    with style.applied():
        style.save(draw(), path)
    beside = path.with_suffix(".txt")
    write_text(beside, caption)
    return f"wrote {path}, and its caption to {beside}"
