"""One recipe a stage: the folder, inputs, settings and outputs of its jobs.

A recipe names its folder and the inputs that are jobs on its dataset, as role to stage. The
function returns the settings that the stage may read, and the other inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from reclip.config.resolve import Experiment
from reclip.pipeline.job import Job
from reclip.pipeline.own_files import digests_of_folders, given_files
from reclip.pipeline.stages import STAGES
from reclip.weights.identity import (
    backbone_sha256,
    checkpoint_sha256,
    describe,
    describe_backbone,
)

IN_PLACE = ("world", "folder")
"""Kinds of sources with nothing to fetch: drawn, or used where they are."""

FIGURES = (
    "examples.png",
    "heatmaps.png",
    "distance.png",
    "confusion.png",
    "per-class-iou.png",
    "curves.png",
    "bias.png",
)
"""The figures of the report, drawn by `reclip.stages.plot`."""

TABLE_KINDS = ("csv", "md", "html")


class Jobs(Protocol):
    """What recipes need of a plan: the experiment, its results folder and its other jobs."""

    experiment: Experiment
    root: Path

    def job(self, stage: str, id: str) -> Job: ...


def ids(experiment: Experiment, stage: str) -> list[str]:
    """Return the ids of a stage's jobs, in the order of the settings file."""
    params = experiment.params
    if stage == "fetch":
        return [d for d in params.datasets if experiment.source(d).kind not in IN_PLACE]
    if STAGES[stage].kind == "dataset":
        return list(params.datasets)
    if stage == "pseudo-mask":
        return [run for run in params.runs if experiment.taught_seeds(run) is not None]
    if stage == "evaluate":
        return [run for run, s in params.runs.items() if experiment.labelled(s.dataset)]
    if stage == "package":
        return [run for run, s in params.runs.items() if s.method in ("rectify", "distill")]
    if STAGES[stage].kind == "run":
        return [run for run, s in params.runs.items() if s.method == stage]
    if stage == "tabulate":
        return list(params.tables)
    needed = {
        "plot": any(map(experiment.labelled, params.datasets)),
        "check": params.check,
        "summarise": experiment.own_photos,
    }
    return [params.experiment] if needed[stage] else []


def metrics_file(run: str) -> str:
    """Return the path of a run's metrics below the results."""
    return f"runs/{run}/metrics.json"


@dataclass
class Recipe:
    """The variable parts of a job; see `Job` for their meaning."""

    settings: dict[str, Any]
    inputs: dict[str, Job] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)


RECIPES: dict[str, Callable[[Jobs, str], Job]] = {}
"""By stage: a function of the plan and the id of a dataset, run, table or experiment."""


def recipe(folder: str, **inputs: str) -> Callable[[Callable[[Jobs, str], Recipe]], Callable]:
    """Register a function as the recipe of the stage of its name.

    Args:
        folder: of the job below the results, with `{}` for its id. Without it, all ids share it.
        inputs: role to stage, of jobs on the job's dataset.
    """

    def register(function: Callable[[Jobs, str], Recipe]) -> Callable:
        stage = STAGES[function.__name__.replace("_", "-")]

        def make(jobs: Jobs, id: str) -> Job:
            dataset = jobs.experiment.params.runs[id].dataset if stage.kind == "run" else id
            own = function(jobs, id)
            return Job(
                stage=stage.name,
                id=id,
                folder=jobs.root / folder.format(id),
                plan_folder=jobs.root / "plan",
                settings=own.settings,
                inputs={r: jobs.job(s, dataset) for r, s in inputs.items()} | own.inputs,
                outputs=tuple(jobs.root / path for path in own.outputs),
                environment=own.environment,
                shares_folder=stage.kind == "table",
            )

        RECIPES[stage.name] = make
        return function

    return register


def trained(jobs: Jobs, run: str) -> Job:
    """Return the job that holds a run's weights; for method query, the Query texts."""
    settings = jobs.experiment.params.runs[run]
    if settings.method == "query":
        return jobs.job("embed-text", settings.dataset)
    return jobs.job(settings.method, run)


def _clip(experiment: Experiment) -> dict[str, Any]:
    return {
        "clip": experiment.clip,
        "weights": checkpoint_sha256(experiment.clip),
        "compute": experiment.params.compute,
    }


@recipe("raw/{}")
def fetch(jobs: Jobs, dataset: str) -> Recipe:
    source = jobs.experiment.source(dataset)
    source = source.model_copy(update={"limit": None})  # all photos are unpacked, however many used
    # The archives' checksums decide, not their folder.
    downloads = {"downloads": jobs.experiment.params.downloads}
    return Recipe({"source": source, "given": given_files(source)}, environment=downloads)


@recipe("data/{}")
def prepare(jobs: Jobs, dataset: str) -> Recipe:
    source = jobs.experiment.source(dataset)
    photos = {"photos": digests_of_folders(source)} if source.kind == "folder" else {}
    inputs = {} if source.kind in IN_PLACE else {"raw": jobs.job("fetch", dataset)}
    loaders = {"loaders": jobs.experiment.params.compute.loaders}
    return Recipe({"source": source, **photos}, inputs, environment=loaders)


@recipe("text/{}", data="prepare")
def embed_text(jobs: Jobs, dataset: str) -> Recipe:
    prompts = jobs.experiment.section(dataset, "prompts")
    return Recipe({**_clip(jobs.experiment), "prompts": prompts})


@recipe("features/{}", data="prepare")
def cache_features(jobs: Jobs, dataset: str) -> Recipe:
    experiment = jobs.experiment
    return Recipe(
        {
            **_clip(experiment),
            "image": experiment.section(dataset, "image"),
            "views": experiment.section(dataset, "views"),
            "hypothesis_image": experiment.section(dataset, "hypotheses").image,
        }
    )


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
def rectify(jobs: Jobs, run: str) -> Recipe:
    experiment = jobs.experiment
    own = {"rectify": experiment.rectify(run), "seeds": experiment.seeds(run)}
    return Recipe({**_clip(experiment), **own})


@recipe("runs/{}/pseudo-mask", data="prepare", features="cache-features")
def pseudo_mask(jobs: Jobs, run: str) -> Recipe:
    experiment = jobs.experiment
    settings = {
        "pseudo_mask": experiment.run_section(run, "pseudo_mask"),
        "seeds": experiment.taught_seeds(run),
        "compute": experiment.params.compute,
    }
    return Recipe(settings, {"teacher": trained(jobs, run)})


@recipe("runs/{}/distill", data="prepare", features="cache-features", hypotheses="hypothesise")
def distill(jobs: Jobs, run: str) -> Recipe:
    experiment = jobs.experiment
    teacher = experiment.params.runs[run].teacher
    sha256 = backbone_sha256(experiment.distill(run))
    settings = {
        "distill": experiment.distill(run),
        **({"weights": sha256} if sha256 else {}),
        "seeds": experiment.seeds(run),
        "seeded_teacher": experiment.params.runs[teacher].method == "rectify",
        "compute": experiment.params.compute,
    }
    return Recipe(
        settings, {"masks": jobs.job("pseudo-mask", teacher), "teacher": trained(jobs, teacher)}
    )


@recipe("runs/{}/probe", data="prepare", features="cache-features")
def probe(jobs: Jobs, run: str) -> Recipe:
    experiment = jobs.experiment
    settings = {
        "probe": experiment.run_section(run, "probe"),
        "seeds": experiment.seeds(run),
        "compute": experiment.params.compute,
    }
    return Recipe(settings, {"student": jobs.job("distill", experiment.params.runs[run].student)})


@recipe("runs/{}/evaluate", data="prepare", features="cache-features", hypotheses="hypothesise")
def evaluate(jobs: Jobs, run: str) -> Recipe:
    experiment = jobs.experiment
    own = experiment.params.runs[run]
    settings = {
        "dataset": own.dataset,
        "method": own.method,
        "seeds": experiment.seeds(run),
        "evaluate": experiment.run_section(run, "evaluate"),
        "compute": experiment.params.compute,
    }
    return Recipe(settings, {"model": trained(jobs, run)}, (metrics_file(run),))


@recipe("runs/{}/model", data="prepare")
def package(jobs: Jobs, run: str) -> Recipe:
    """Package the first seed's model: to choose another by its metrics would use labels."""
    experiment = jobs.experiment
    own = experiment.params.runs[run]
    rectified = own.method == "rectify"
    weights = [describe(experiment.clip)]
    if not rectified:
        weights.append(describe_backbone(experiment.distill(run)))
    denoising = experiment.run_section(run, "evaluate").model_dump(exclude={"distance_bins"})
    inputs = {"model": trained(jobs, run)}
    if experiment.labelled(own.dataset):
        inputs["metrics"] = jobs.job("evaluate", run)
    settings = {
        "clip": experiment.clip,
        "weights": checkpoint_sha256(experiment.clip),
        "experiment": experiment.params.experiment,
        "dataset": own.dataset,
        "photos": experiment.source(own.dataset).kind,
        "method": own.method,
        "teacher": own.teacher,
        "seed": experiment.seeds(run)[0],
        "image": experiment.section(own.dataset, "image"),
        "denoising": denoising if rectified else {},
        "trained": experiment.run_section(run, own.method),
        "weights_of": weights,
    }
    return Recipe(settings, inputs)


def weights_of(experiment: Experiment, table: str) -> list[str]:
    """Return the weights that a table's measured cells start from, a sentence each."""
    runs = experiment.table_runs(table)
    runs += [r for run in runs if (r := experiment.params.runs[run].student)]
    students = [r for r in runs if experiment.params.runs[r].method == "distill"]
    said = [describe(experiment.clip)] if runs else []
    return said + sorted({describe_backbone(experiment.distill(run)) for run in students})


@recipe("tables")
def tabulate(jobs: Jobs, table: str) -> Recipe:
    experiment = jobs.experiment
    params = experiment.params
    settings = {
        "table": params.tables[table],
        "experiment": params.experiment,
        "datasets": list(params.datasets),
        "weights": weights_of(experiment, table),
    }
    inputs = {run: jobs.job("evaluate", run) for run in experiment.table_runs(table)}
    return Recipe(settings, inputs, tuple(f"tables/{table}.{kind}" for kind in TABLE_KINDS))


@recipe("figures")
def plot(jobs: Jobs, name: str) -> Recipe:
    experiment = jobs.experiment
    params = experiment.params
    labelled = filter(experiment.labelled, params.datasets)
    compared = {d: runs for d in labelled if (runs := experiment.compared(d))}
    pictured = next(iter(compared), None)
    if params.check:
        pictured = params.runs[params.check.query].dataset
    inputs = {}
    for run in (run for runs in compared.values() for run in runs.values()):
        evaluation = jobs.job("evaluate", run)
        # The figures predict again, from the inputs of the evaluation.
        for job in (evaluation, *evaluation.inputs.values()):
            inputs[job.name] = job
    settings = {
        "compared": compared,
        "pictured": pictured,
        "clip": experiment.clip,
        "compute": params.compute,
    }
    return Recipe(settings, inputs, tuple(f"figures/{file}" for file in (*FIGURES, "bias.csv")))


@recipe("check")
def check(jobs: Jobs, name: str) -> Recipe:
    settings = jobs.experiment.params.check
    inputs = {run: jobs.job("evaluate", run) for run in settings.model_dump().values()}
    return Recipe({"check": settings}, inputs, ("check/check.md",))


@recipe("summary")
def summarise(jobs: Jobs, name: str) -> Recipe:
    experiment = jobs.experiment
    inputs, settings = {}, {}
    for dataset, run in experiment.own_photos.items():
        for stage in ("prepare", "embed-text", "cache-features", "hypothesise"):
            inputs[f"{stage} {dataset}"] = jobs.job(stage, dataset)
        for stage in ("rectify", "pseudo-mask"):
            inputs[f"{stage} {dataset}"] = jobs.job(stage, run)
        settings[dataset] = {
            "seed": experiment.taught_seeds(run)[0],
            "hypotheses": experiment.section(dataset, "hypotheses"),
        }
    settings = {"datasets": settings, "compute": experiment.params.compute}
    return Recipe(settings, inputs, ("summary/summary.md", "summary/summary.json"))
