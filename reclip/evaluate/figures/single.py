"""Single figures of finished runs (Figs. 1 and 3), each with a caption file beside it.

Nothing is trained. The captions are `single.<figure>.txt.j2`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from reclip.clip.feature_cache import FeatureCache
from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_text
from reclip.common.templates import fill
from reclip.common.text import nearest
from reclip.data.index import DataSet
from reclip.device import precision, setup
from reclip.evaluate.figures import heatmaps as maps
from reclip.evaluate.figures import style
from reclip.evaluate.figures.by_class import draw_matrices, most_confused
from reclip.evaluate.figures.comparison import Result, evenly_spaced, mean_and_sd
from reclip.evaluate.figures.distance import draw_curves
from reclip.evaluate.shares import row_shares
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job, snakemake
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.rectify.model import Rectifier

SEARCHED = 50
"""Photos searched for the one that rectification changes most."""


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
    if len(runs) > (most := len(style.SERIES)):
        raise ReclipError(f"{len(runs)} runs are too many for one figure: name {most} at most")
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

    Raises ReclipError: an unknown format, or a path among the results, which stages overwrite.
    """
    path = Path(output)
    if path.suffix.lower() not in style.FORMATS:
        raise ReclipError(f"--output: '{output}' must end in {', '.join(style.FORMATS)}")
    if path.resolve().is_relative_to(plan.root.resolve()):
        raise ReclipError(
            f"--output: '{output}' lies among the experiment's results, which stages "
            f"overwrite: write it elsewhere"
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
    jobs = [plan.job("gather", run) for run in runs]
    require_fresh(jobs, params)
    return [Result("query", job) for job in jobs]


def class_ids(given: str, names: Sequence[str]) -> list[int]:
    """Return the ids of classes named in `given`, separated by commas; `all` names every class.

    Raises ReclipError: an unknown name, or none.
    """
    if given.strip() == "all" and "all" not in names:
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
    edges, objects, _ = results[0].distance
    columns = [_cells(result.distance[2]) for result in results]
    rows = zip(edges, edges[1:], objects, zip(*columns, strict=True), strict=False)
    figure = partial(draw_curves, results, dataset)
    return _save(path, figure, "distance", dataset=dataset, results=results, bins=rows)


def _cells(miou: np.ndarray) -> list[str]:
    """Return a text a bin from (S, B): mean and, over several seeds, standard deviation."""
    return [
        "-" if np.isnan(mean) else f"{mean:.1f}" + f" ± {sd:.1f}" * (len(miou) > 1)
        for mean, sd in zip(*mean_and_sd(miou), strict=True)
    ]


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
    by = plan.experiment.compared(dataset).get("query", runs[0])
    needed = list(dict.fromkeys([*runs, by])) if classes is None else runs
    results = evaluated(plan, dataset, needed, params, "confusion")
    names = read_json(results[0].job.outputs[0])["classes"]
    if classes is None:
        ids = most_confused(results[needed.index(by)].confusion, top)
        chosen = f"those of the pairs that {by} confuses most, chosen by its confusion matrix"
    else:
        ids, chosen = class_ids(classes, names), "as asked for"
    results = results[: len(runs)]
    several = [result for result in results if len(result.confusion) > 1]
    sds = {r.run: mean_and_sd(row_shares(r.confusion)[:, ids][..., ids])[1] for r in several}
    deviations = {run: np.nanmax(sd) for run, sd in sds.items() if not np.isnan(sd).all()}
    return _save(
        path, partial(draw_matrices, results, ids, [names[k] for k in ids], dataset), "confusion",
        dataset=dataset, results=results, classes=len(ids), chosen=chosen, deviations=deviations,
    )  # fmt: skip


def heatmaps(
    plan: Plan,
    dataset: str | None,
    runs: Sequence[str],
    image: str | None,
    classes: str | None,
    scale: maps.Scale,
    output: str,
    params: str,
) -> str:
    """Draw Query, Reference, positional and rectified logits. Return a message with the files.

    No labels are needed. image, classes: None takes the photo, and its classes, that change most.
    """
    path = checked_output(plan, output)
    dataset, runs = chosen_runs(plan, dataset, runs, ("rectified",))
    if len(runs) > 1:
        raise ReclipError(f"heat maps are of one run, not {len(runs)}: draw a figure for each")
    run = runs[0]
    model, rectifier = models(plan, run)
    before = [plan.job(stage, dataset) for stage in ("prepare", "cache-features")]
    require_fresh([*before, *dict.fromkeys((model, rectifier))], params)
    data, features = DataSet(before[0].folder), FeatureCache(before[1].folder)
    names = [synonyms[0] for synonyms in data.class_names]
    ids = None if classes is None else class_ids(classes, names)
    photos = [
        maps.Photo(split, number, item)
        for split in ("val", "train")
        for number, item in enumerate(data.items(split))
    ]
    photo = next((p for p in photos if p.item.id == image), None)
    if image is not None and photo is None:
        hint = nearest(image, [p.item.id for p in photos])
        if hint.startswith("; known"):  # an example, instead of all ids
            hint = f"; its photos are named like '{photos[0].item.id}'"
        raise ReclipError(f"--image: dataset '{dataset}' has no photo '{image}'{hint}")
    logits_of = predictor(plan, model, rectifier, features)
    searched, share = [], None
    if photo is None:
        split = [p for p in photos if p.split == photos[0].split]
        searched = [split[i] for i in evenly_spaced(len(split), SEARCHED)]
        photo = max(searched, key=lambda p: maps.change(logits_of(p))[0])
    logits = logits_of(photo)
    if ids is None:
        share, ids = maps.change(logits)
        if not ids:
            raise ReclipError(
                f"rectification changes no pixel of photo '{photo.item.id}', so no class stands "
                f"out: name classes with --classes"
            )
    said = f"{run}, seed {model.seed}"
    learned = plan.experiment.rectify(rectifier.id)
    decoded = learned.model == "reclip++"
    sign = "+" if learned.combine == "add" else "−"
    biases = ("bias",) if decoded else ("Reference", "positional")
    made = f" {sign} ".join(["Query", *(name for name in biases if name in logits.parts)])
    return _save(
        path, partial(maps.draw_maps, photo, logits, ids, names, scale, said), "heatmaps",
        photo=photo, run=said, shown=" and ".join(names[k] for k in ids), scale=scale, share=share,
        made="decoded from the features and " * decoded + made,
        absent=[name for name in biases if name not in logits.parts], searched=len(searched),
    )  # fmt: skip


def models(plan: Plan, run: str) -> tuple[Job, Job]:
    """Return the jobs of a run's first seed, and of the rectified CLIP whose Reference it uses.

    A student uses its teacher's Reference; a rectified CLIP uses its own.
    Raises ReclipError: the run has neither Reference nor positional logits.
    """
    experiment, settings = plan.experiment, plan.params.runs[run]
    if settings.method == "rectify":
        learned = experiment.rectify(run)
        if learned.reference or learned.positional:
            job = plan.trained(run)[0]
            return job, job
    if settings.method == "distill" and "reference" in experiment.distill(run).head:
        student = plan.trained(run)[0]
        return student, plan.job("rectify", settings.teacher, student.seed)
    having = experiment.compared(settings.dataset).get("rectified")
    hint = f", e.g. '{having}'" if having and having != run else ""
    raise ReclipError(
        f"run '{run}' has neither Reference nor positional logits to show: name a run that learns "
        f"or inherits them{hint}"
    )


def predictor(
    plan: Plan, model: Job, rectifier: Job, features: FeatureCache
) -> Callable[[maps.Photo], maps.Logits]:
    """Return a function from a photo to its logits by the jobs of `models`."""
    device = setup(plan.params.compute)
    teacher = Rectifier.load(rectifier.folder / WEIGHTS_FILE, device)
    if model is rectifier:
        return partial(maps.of_rectifier, teacher, features)
    from reclip.distill.deeplab import Student  # imports timm, which takes seconds

    student = Student.load(model.folder / WEIGHTS_FILE).to(device)
    student.deeplab.precision = precision.resolve(plan.params.compute.precision, device)
    return partial(maps.of_student, student, teacher, features)


def _save(path: Path, draw: Callable[[], Figure], caption: str, **values: Any) -> str:
    """Save a figure, and beside it the caption `single.<caption>.txt.j2`. Return a message."""
    if "results" in values:
        seeds = {result.run: len(result.confusion) for result in values["results"]}
        values["runs"] = ", ".join(f"{r} ({n} seed{'s' * (n > 1)})" for r, n in seeds.items())
    with style.applied():
        style.save(draw(), path)
    beside = path.with_suffix(".txt")
    write_text(beside, fill(Path(__file__).with_name(f"single.{caption}.txt.j2"), **values))
    return f"wrote {path}, and its caption to {beside}"
