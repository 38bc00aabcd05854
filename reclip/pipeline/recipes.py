"""One recipe a stage: folder, inputs, settings and outputs of its jobs (`pipeline.recipe`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from reclip.common.hashing import cached_sha256
from reclip.config.models import DenoisingSettings
from reclip.config.resolve import Experiment
from reclip.data.photos import digest_of_photos
from reclip.data.window_grid import WindowGrid
from reclip.pipeline.artifacts import CHECK_FACTS
from reclip.pipeline.job import Job, seed_part
from reclip.pipeline.recipe import Jobs, Recipe, on_dataset, recipe
from reclip.pipeline.stages import STAGES
from reclip.weights import identity

IN_PLACE = ("world", "folder")
"""Kinds of sources with nothing to fetch: drawn, or used where they are."""

FOLDERS = ("images", "val_images", "val_labels")
"""Settings that name folders of the user."""

FIGURES = (
    "examples.png",
    "heatmaps.png",
    "distance.png",
    "confusion.png",
    "per-class-iou.png",
    "curves.png",
    "preference.png",
    "companions.png",
)
"""The figures of the report, drawn by `reclip.stages.plot`."""

FIGURE_TABLES = ("preference.csv", "preference-pairs.csv", "companions.csv")
"""The numbers of these figures."""


def check_files(tables: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the check's files, below its folder."""
    of_tables = (f"{table}.md" for table in tables)
    of_figure = ("preference.png", "preference.csv", "preference-pairs.csv")
    return "check.md", CHECK_FACTS, "verdicts.csv", "tables.csv", *of_tables, *of_figure


def gallery_files(datasets: Collection[str]) -> dict[str, str]:
    """Return the gallery's file name of each dataset of own photos, below the summary's folder."""
    if len(datasets) == 1:
        return dict.fromkeys(datasets, "gallery.html")
    return {dataset: f"gallery-{dataset}.html" for dataset in datasets}


def ids(experiment: Experiment, stage: str) -> list[str]:
    """Return the names that a stage has jobs for, in the order of the settings file.

    They are of datasets, runs or tables, or the experiment's own.
    """
    params, kind = experiment.params, STAGES[stage].names
    if stage in ("fetch", "hypothesise"):  # of the photos, however they are read
        own = [d for d in params.datasets if experiment.origin(d) == d]
        fetched = stage == "fetch"
        return [d for d in own if not fetched or experiment.source(d).kind not in IN_PLACE]
    if stage == "pseudo-mask":
        return [run for run in params.runs if experiment.taught_seeds(run) is not None]
    if stage in ("evaluate", "gather"):
        return [run for run, s in params.runs.items() if experiment.labelled(s.dataset)]
    if kind == "run":
        methods = ("rectify", "distill") if stage == "package" else (stage,)
        return [run for run, s in params.runs.items() if s.method in methods]
    if kind != "experiment":
        return list(params.datasets if kind == "dataset" else params.tables)
    needed = {
        "plot": any(map(experiment.labelled, params.datasets)),
        "check": params.check,
        "summarise": rectified(experiment),
    }
    return [params.experiment] if needed[stage] else []


def seeds(
    experiment: Experiment, stage: str, run: str, check: bool = True
) -> tuple[int | None, ...]:
    """Return the seeds of a run that a stage has jobs for; None: one job, without a seed.

    check: with the seeds that only the check needs.
    """
    if STAGES[stage].kind != "seed":
        return (None,)
    of = experiment.taught_seeds if stage == "pseudo-mask" else experiment.seeds
    return of(run, check) or (None,)


def rectified(experiment: Experiment) -> list[str]:
    """Return the rectified runs."""
    return [run for run, s in experiment.params.runs.items() if s.method == "rectify"]


def trained(jobs: Jobs, run: str, seed: int | None) -> Job:
    """Return the job that holds the weights of a run's seed; for method query, the Query texts."""
    settings = jobs.experiment.params.runs[run]
    if settings.method == "query":
        return jobs.job("embed-text", settings.dataset)
    return jobs.job(settings.method, run, seed)


def _clip(experiment: Experiment, dataset: str) -> dict[str, Any]:
    return {
        "clip": experiment.clip_of(dataset),
        "weights": identity.checkpoint_sha256(experiment.clip),
        "compute": experiment.params.compute,
    }


def _run(experiment: Experiment, run: str, section: str) -> dict[str, Any]:
    return {
        section: experiment.run_section(run, section),
        "compute": experiment.params.compute,
    }


@recipe("raw/{}")
def fetch(jobs: Jobs, dataset: str) -> Recipe:
    source = jobs.experiment.source(dataset)
    source = source.model_copy(update={"limit": None})  # all photos are unpacked, however many used
    # Of files that the source names; URLs and missing files have no checksum.
    named = {key: getattr(source, key, None) for key in ("archive", "labels")}
    paths = {key: Path(where).expanduser() for key, where in named.items() if where}
    given = {key: cached_sha256(path) for key, path in paths.items() if path.is_file()}
    # The archives' checksums decide, not their folder.
    downloads = {"downloads": jobs.experiment.params.downloads}
    return Recipe({"source": source, "given": given}, environment=downloads)


@recipe("data/{}")
def prepare(jobs: Jobs, dataset: str) -> Recipe:
    own = jobs.experiment.params.datasets[dataset]
    named = {"names": own.names} if own.names else {}
    if own.of:
        return Recipe(named, {"of": jobs.job("prepare", own.of)})
    source = jobs.experiment.source(dataset)
    settings: dict[str, Any] = {"source": source, **named}
    if source.kind == "folder":
        # Any added, lost or changed file shows.
        limits = {"images": source.limit, "val_images": source.limit}
        settings["photos"] = {
            key: digest_of_photos(path, f"source.{key}", limits.get(key))
            for key in FOLDERS
            if (path := getattr(source, key))
        }
    inputs = {} if source.kind in IN_PLACE else {"raw": jobs.job("fetch", dataset)}
    loaders = {"loaders": jobs.experiment.params.compute.loaders}
    return Recipe(settings, inputs, environment=loaders)


@recipe("text/{}", data="prepare")
def embed_text(jobs: Jobs, dataset: str) -> Recipe:
    prompts = jobs.experiment.section(dataset, "prompts")
    return Recipe({**_clip(jobs.experiment, dataset), "prompts": prompts})


@recipe("features/{}", data="prepare")
def cache_features(jobs: Jobs, dataset: str) -> Recipe:
    own = {name: jobs.experiment.section(dataset, name) for name in ("image", "views")}
    if jobs.experiment.origin(dataset) != dataset:  # the hypotheses are of its origin's features
        return Recipe({**_clip(jobs.experiment, dataset), **own})
    hypotheses = jobs.experiment.section(dataset, "hypotheses")
    own["hypothesis_image"] = hypotheses.image
    if windows := WindowGrid.of(hypotheses):
        own["hypothesis_windows"] = windows
    return Recipe({**_clip(jobs.experiment, dataset), **own})


@recipe("hypotheses/{}", features="cache-features", text="embed-text")
def hypothesise(jobs: Jobs, dataset: str) -> Recipe:
    return Recipe({"hypotheses": jobs.experiment.section(dataset, "hypotheses")})


@recipe(
    "runs/{}/rectify",
    data="prepare",
    features="cache-features",
    text="embed-text",
    hypotheses="hypothesise",
)
def rectify(jobs: Jobs, run: str, seed: int) -> Recipe:
    dataset = jobs.experiment.params.runs[run].dataset
    return Recipe(_clip(jobs.experiment, dataset) | _run(jobs.experiment, run, "rectify"))


@recipe("runs/{}/pseudo-mask", data="prepare", features="cache-features")
def pseudo_mask(jobs: Jobs, run: str, seed: int | None) -> Recipe:
    settings = _run(jobs.experiment, run, "pseudo_mask")
    return Recipe(settings, {"teacher": trained(jobs, run, seed)})


@recipe("runs/{}/distill", data="prepare", features="cache-features", hypotheses="hypothesise")
def distill(jobs: Jobs, run: str, seed: int) -> Recipe:
    runs = jobs.experiment.params.runs
    teacher = runs[run].teacher
    taught = seed if runs[teacher].method == "rectify" else None  # the Query has no seeds
    settings = _run(jobs.experiment, run, "distill")
    if sha256 := identity.backbone_sha256(settings["distill"]):
        settings["weights"] = sha256
    masks = jobs.job("pseudo-mask", teacher, taught)
    return Recipe(settings, {"masks": masks, "teacher": trained(jobs, teacher, taught)})


@recipe("runs/{}/probe", data="prepare", features="cache-features")
def probe(jobs: Jobs, run: str, seed: int) -> Recipe:
    student = jobs.job("distill", jobs.experiment.params.runs[run].student, seed)
    return Recipe(_run(jobs.experiment, run, "probe"), {"student": student})


@recipe("runs/{}/evaluate", data="prepare", features="cache-features", hypotheses="hypothesise")
def evaluate(jobs: Jobs, run: str, seed: int | None) -> Recipe:
    settings = {"method": jobs.experiment.params.runs[run].method}
    settings |= _run(jobs.experiment, run, "evaluate")
    return Recipe(settings, {"model": trained(jobs, run, seed)})


@recipe("runs/{}/gather")
def gather(jobs: Jobs, run: str) -> Recipe:
    own = jobs.experiment.params.runs[run]
    found = seeds(jobs.experiment, "evaluate", run, check=False)
    inputs = {seed_part(seed): jobs.job("evaluate", run, seed) for seed in found}
    settings = {"dataset": own.dataset, "method": own.method, "seeds": jobs.experiment.seeds(run)}
    return Recipe(settings, inputs, (f"runs/{run}/metrics.json",))


@recipe("runs/{}/model", data="prepare")
def package(jobs: Jobs, run: str) -> Recipe:
    """Package the first seed's model: to choose another by its metrics would use labels."""
    experiment = jobs.experiment
    own = experiment.params.runs[run]
    clip = experiment.clip_of(own.dataset)
    denoising, pamr, weights = {}, 0, [identity.describe(clip)]
    if own.method == "rectify":
        evaluate = experiment.run_section(run, "evaluate")
        denoising = evaluate.model_dump(include=set(DenoisingSettings.model_fields))
        pamr = evaluate.pamr
    else:
        weights.append(identity.describe_backbone(experiment.distill(run)))
    seed = experiment.seeds(run)[0]
    inputs = {"model": trained(jobs, run, seed)}
    if experiment.labelled(own.dataset):
        inputs["metrics"] = jobs.job("gather", run)
    settings = {
        "clip": clip,
        "weights": identity.checkpoint_sha256(clip),
        "experiment": experiment.params.experiment,
        "dataset": own.dataset,
        "photos": experiment.source(own.dataset).kind,
        "method": own.method,
        "teacher": own.teacher,
        "seed": seed,
        "image": experiment.section(own.dataset, "image"),
        "denoising": denoising,
        "pamr_of_scores": pamr,  # for the card: the packaged model does not refine
        "trained": experiment.run_section(run, own.method),
        "weights_of": weights,
    }
    return Recipe(settings, inputs)


def _weights(experiment: Experiment, table: str) -> list[str]:
    """Return the weights that a table's measured cells start from, a sentence each."""
    tabled, runs = experiment.table_runs(table), experiment.params.runs
    students = {runs[run].student or run for run in tabled}  # a probe's weights are its student's
    students = [experiment.distill(r) for r in students if runs[r].method == "distill"]
    weights = [identity.describe(experiment.clip)] if tabled else []
    return weights + sorted(set(map(identity.describe_backbone, students)))


@recipe("tables")
def tabulate(jobs: Jobs, table: str) -> Recipe:
    experiment, params = jobs.experiment, jobs.experiment.params
    inputs = {run: jobs.job("gather", run) for run in experiment.table_runs(table)}
    settings = {
        "table": params.tables[table],
        "experiment": params.experiment,
        "datasets": list(params.datasets),
        "weights": _weights(experiment, table),
    }
    outputs = tuple(f"tables/{table}.{kind}" for kind in ("csv", "md", "html"))
    return Recipe(settings, inputs, outputs)


@recipe("figures")
def plot(jobs: Jobs, name: str) -> Recipe:
    experiment, params = jobs.experiment, jobs.experiment.params
    own = [d for d in params.datasets if experiment.origin(d) == d]  # one reading of each
    compared = {d: r for d in filter(experiment.labelled, own) if (r := experiment.compared(d))}
    biased = {dataset: experiment.bias_runs(dataset) for dataset in compared}
    pictured = next(iter(compared), None)
    gathered = [jobs.job("gather", run) for runs in compared.values() for run in runs.values()]
    evaluations = [job for one in gathered for job in one.inputs.values()]
    # The figures predict again, from the inputs of the evaluations.
    inputs = {job.name: job for one in evaluations for job in (one, *one.inputs.values())}
    measured = [jobs.job("gather", run) for runs in biased.values() for run in runs.values()]
    inputs |= {job.name: job for job in (*gathered, *measured)}
    settings = {"compared": compared, "biased": biased, "pictured": pictured}
    settings |= {"clip": experiment.clip, "compute": params.compute}
    return Recipe(settings, inputs, tuple(f"figures/{file}" for file in (*FIGURES, *FIGURE_TABLES)))


@recipe("check")
def check(jobs: Jobs, name: str) -> Recipe:
    experiment, params = jobs.experiment, jobs.experiment.params
    biased = {
        dataset: experiment.with_seeds_of_check(experiment.bias_runs(dataset))
        for dataset in experiment.steps
    }
    shown = [run for of in (*experiment.steps.values(), *biased.values()) for run in of.values()]
    runs = [*experiment.tabled, *shown]
    inputs = {
        f"{run}/{seed_part(seed)}": jobs.job("evaluate", run, seed)
        for run in dict.fromkeys(runs)
        for seed in (params.check.seeds if experiment.seeds(run) else (None,))
    }
    settings = {
        "seeds": params.check.seeds,
        "tables": params.tables,
        "experiment": params.experiment,
        "datasets": list(params.datasets),
        "weights": {table: _weights(experiment, table) for table in params.tables},
        "steps": experiment.steps,
        "biased": biased,
    }
    return Recipe(settings, inputs, tuple(f"check/{file}" for file in check_files(params.tables)))


@recipe("summary")
def summarise(jobs: Jobs, name: str) -> Recipe:
    experiment = jobs.experiment
    # A run may have the name of a dataset of own photos, whose jobs come below.
    trainings = [(run, s) for run in rectified(experiment) for s in experiment.seeds(run)]
    inputs = {f"training of {run} {s}": jobs.job("rectify", run, s) for run, s in trainings}
    settings = {}
    for dataset, run in experiment.own_photos.items():
        for stage in ("prepare", "embed-text", "cache-features", "hypothesise"):
            inputs[f"{stage} {dataset}"] = on_dataset(jobs, stage, dataset)
        for stage in ("rectify", "pseudo-mask"):
            seed = experiment.taught_seeds(run)[0]
            inputs[f"{stage} {dataset}"] = jobs.job(stage, run, seed)
        settings[dataset] = {"hypotheses": experiment.section(dataset, "hypotheses")}
    settings = {"datasets": settings, "compute": experiment.params.compute}
    files = ("summary.md", "summary.json", *gallery_files(experiment.own_photos).values())
    return Recipe(settings, inputs, tuple(f"summary/{file}" for file in files))
