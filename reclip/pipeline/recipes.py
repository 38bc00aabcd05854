"""One function a stage: the settings, inputs, folder and outputs of its jobs."""

from __future__ import annotations

from collections.abc import Callable
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


def metrics_file(root: Path, run: str) -> Path:
    """Return the file with a run's metrics."""
    return root / "runs" / run / "metrics.json"


def _make(jobs: Jobs, stage: str, id: str, folder: str, settings: dict, **more: Any) -> Job:
    return Job(stage, id, jobs.root / folder, jobs.root / "plan", settings, **more)


def _clip(experiment: Experiment) -> dict[str, Any]:
    return {"clip": experiment.clip, "weights": checkpoint_sha256(experiment.clip)}


def _reads(jobs: Jobs, dataset: str, **stages: str) -> dict[str, Job]:
    """Return jobs on a dataset, by their role: role to stage."""
    return {role: jobs.job(stage, dataset) for role, stage in stages.items()}


def fetch(jobs: Jobs, dataset: str) -> Job:
    experiment = jobs.experiment
    source = experiment.source(dataset)
    source = source.model_copy(update={"limit": None})  # all photos are unpacked, however many used
    return _make(
        jobs, "fetch", dataset, f"raw/{dataset}",
        {"source": source, "given": given_files(source)},
        # The archives' checksums decide, not their folder.
        environment={"downloads": experiment.params.downloads},
    )  # fmt: skip


def prepare(jobs: Jobs, dataset: str) -> Job:
    source = jobs.experiment.source(dataset)
    settings: dict[str, Any] = {"source": source}
    if source.kind == "folder":
        settings["photos"] = digests_of_folders(source)
    return _make(
        jobs, "prepare", dataset, f"data/{dataset}", settings,
        inputs={} if source.kind in IN_PLACE else _reads(jobs, dataset, raw="fetch"),
        environment={"loaders": jobs.experiment.params.compute.loaders},
    )  # fmt: skip


def embed_text(jobs: Jobs, dataset: str) -> Job:
    experiment = jobs.experiment
    return _make(
        jobs, "embed-text", dataset, f"text/{dataset}",
        {
            **_clip(experiment),
            "prompts": experiment.section(dataset, "prompts"),
            "compute": experiment.params.compute,
        },
        inputs=_reads(jobs, dataset, data="prepare"),
    )  # fmt: skip


def cache_features(jobs: Jobs, dataset: str) -> Job:
    experiment = jobs.experiment
    return _make(
        jobs, "cache-features", dataset, f"features/{dataset}",
        {
            **_clip(experiment),
            "image": experiment.section(dataset, "image"),
            "views": experiment.section(dataset, "views"),
            "hypothesis_image": experiment.section(dataset, "hypotheses").image,
            "compute": experiment.params.compute,
        },
        inputs=_reads(jobs, dataset, data="prepare"),
    )  # fmt: skip


def hypothesise(jobs: Jobs, dataset: str) -> Job:
    return _make(
        jobs, "hypothesise", dataset, f"hypotheses/{dataset}",
        {"hypotheses": jobs.experiment.section(dataset, "hypotheses")},
        inputs=_reads(jobs, dataset, features="cache-features", text="embed-text"),
    )  # fmt: skip


def rectify(jobs: Jobs, run: str) -> Job:
    experiment = jobs.experiment
    return _make(
        jobs, "rectify", run, f"runs/{run}/rectify",
        {
            **_clip(experiment),
            "rectify": experiment.rectify(run),
            "seeds": experiment.seeds(run),
            "compute": experiment.params.compute,
        },
        inputs=_reads(
            jobs, experiment.params.runs[run].dataset,
            data="prepare", features="cache-features", text="embed-text", hypotheses="hypothesise",
        ),
    )  # fmt: skip


def pseudo_mask(jobs: Jobs, run: str) -> Job:
    experiment = jobs.experiment
    dataset = experiment.params.runs[run].dataset
    return _make(
        jobs, "pseudo-mask", run, f"runs/{run}/pseudo-mask",
        {
            "pseudo_mask": experiment.run_section(run, "pseudo_mask"),
            "seeds": experiment.taught_seeds(run),
            "compute": experiment.params.compute,
        },
        inputs={
            **_reads(jobs, dataset, data="prepare", features="cache-features"),
            "teacher": trained(jobs, run),
        },
    )  # fmt: skip


def trained(jobs: Jobs, run: str) -> Job:
    """Return the job that holds a run's weights; for method query, the Query texts."""
    settings = jobs.experiment.params.runs[run]
    if settings.method == "query":
        return jobs.job("embed-text", settings.dataset)
    return jobs.job(settings.method, run)


def distill(jobs: Jobs, run: str) -> Job:
    experiment = jobs.experiment
    settings = experiment.params.runs[run]
    sha256 = backbone_sha256(experiment.distill(run))
    return _make(
        jobs, "distill", run, f"runs/{run}/distill",
        {
            "distill": experiment.distill(run),
            **({"weights": sha256} if sha256 else {}),
            "seeds": experiment.seeds(run),
            "seeded_teacher": experiment.params.runs[settings.teacher].method == "rectify",
            "compute": experiment.params.compute,
        },
        inputs={
            **_reads(
                jobs, settings.dataset,
                data="prepare", features="cache-features", hypotheses="hypothesise",
            ),
            "masks": jobs.job("pseudo-mask", settings.teacher),
            "teacher": trained(jobs, settings.teacher),
        },
    )  # fmt: skip


def probe(jobs: Jobs, run: str) -> Job:
    experiment = jobs.experiment
    settings = experiment.params.runs[run]
    return _make(
        jobs, "probe", run, f"runs/{run}/probe",
        {
            "probe": experiment.run_section(run, "probe"),
            "seeds": experiment.seeds(run),
            "compute": experiment.params.compute,
        },
        inputs={
            **_reads(jobs, settings.dataset, data="prepare", features="cache-features"),
            "student": jobs.job("distill", settings.student),
        },
    )  # fmt: skip


def evaluate(jobs: Jobs, run: str) -> Job:
    experiment = jobs.experiment
    settings = experiment.params.runs[run]
    return _make(
        jobs, "evaluate", run, f"runs/{run}/evaluate",
        {
            "dataset": settings.dataset,
            "method": settings.method,
            "seeds": experiment.seeds(run),
            "evaluate": experiment.run_section(run, "evaluate"),
            "compute": experiment.params.compute,
        },
        inputs={
            **_reads(
                jobs, settings.dataset,
                data="prepare", features="cache-features", hypotheses="hypothesise",
            ),
            "model": trained(jobs, run),
        },
        outputs=(metrics_file(jobs.root, run),),
    )  # fmt: skip


def package(jobs: Jobs, run: str) -> Job:
    """Package the first seed's model: to choose another by its metrics would use labels."""
    experiment = jobs.experiment
    settings = experiment.params.runs[run]
    dataset = settings.dataset
    rectified = settings.method == "rectify"
    weights = [describe(experiment.clip)]
    if not rectified:
        weights.append(describe_backbone(experiment.distill(run)))
    denoising = experiment.run_section(run, "evaluate").model_dump(exclude={"distance_bins"})
    inputs = {"data": jobs.job("prepare", dataset), "model": trained(jobs, run)}
    if experiment.labelled(dataset):
        inputs["metrics"] = jobs.job("evaluate", run)
    return _make(
        jobs, "package", run, f"runs/{run}/model",
        {
            **_clip(experiment),
            "experiment": experiment.params.experiment,
            "dataset": dataset,
            "photos": experiment.source(dataset).kind,
            "method": settings.method,
            "teacher": settings.teacher,
            "seed": experiment.seeds(run)[0],
            "image": experiment.section(dataset, "image"),
            "denoising": denoising if rectified else {},
            "trained": experiment.run_section(run, settings.method),
            "weights_of": weights,
        },
        inputs=inputs,
    )  # fmt: skip


def weights_of(experiment: Experiment, table: str) -> list[str]:
    """Return the weights that a table's measured cells start from, a sentence each."""
    runs = experiment.table_runs(table)
    runs += [r for run in runs if (r := experiment.params.runs[run].student)]
    students = [r for r in runs if experiment.params.runs[r].method == "distill"]
    said = [describe(experiment.clip)] if runs else []
    return said + sorted({describe_backbone(experiment.distill(run)) for run in students})


def tabulate(jobs: Jobs, table: str) -> Job:
    experiment = jobs.experiment
    params = experiment.params
    return _make(
        jobs, "tabulate", table, "tables",
        {
            "table": params.tables[table],
            "experiment": params.experiment,
            "datasets": list(params.datasets),
            "weights": weights_of(experiment, table),
        },
        inputs={run: jobs.job("evaluate", run) for run in experiment.table_runs(table)},
        outputs=tuple(jobs.root / "tables" / f"{table}.{kind}" for kind in ("csv", "md", "html")),
        shares_folder=True,
    )  # fmt: skip


def plot(jobs: Jobs, name: str) -> Job:
    experiment = jobs.experiment
    params = experiment.params
    labelled = filter(experiment.labelled, params.datasets)
    compared = {d: runs for d in labelled if (runs := experiment.compared(d))}
    check = params.check
    pictured = params.runs[check.query].dataset if check else next(iter(compared), None)
    inputs = {}
    for run in (run for runs in compared.values() for run in runs.values()):
        evaluation = jobs.job("evaluate", run)
        # The figures predict again, from the inputs of the evaluation.
        for job in (evaluation, *evaluation.inputs.values()):
            inputs[job.name] = job
    return _make(
        jobs, "plot", name, "figures",
        {
            "compared": compared,
            "pictured": pictured,
            "clip": experiment.clip,
            "compute": params.compute,
        },
        inputs=inputs,
        outputs=tuple(jobs.root / "figures" / file for file in (*FIGURES, "bias.csv")),
    )  # fmt: skip


def check(jobs: Jobs, name: str) -> Job:
    settings = jobs.experiment.params.check
    return _make(
        jobs, "check", name, "check", {"check": settings},
        inputs={run: jobs.job("evaluate", run) for run in settings.model_dump().values()},
        outputs=(jobs.root / "check/check.md",),
    )  # fmt: skip


def summarise(jobs: Jobs, name: str) -> Job:
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
    return _make(
        jobs, "summarise", name, "summary",
        {"datasets": settings, "compute": experiment.params.compute},
        inputs=inputs,
        outputs=tuple(jobs.root / "summary" / file for file in ("summary.md", "summary.json")),
    )  # fmt: skip


RECIPES: dict[str, Callable[[Jobs, str], Job]] = {
    recipe.__name__.replace("_", "-"): recipe
    for recipe in (
        fetch, prepare, embed_text, cache_features, hypothesise, rectify, pseudo_mask, distill,
        probe, evaluate, package, tabulate, plot, check, summarise,
    )
}  # fmt: skip
