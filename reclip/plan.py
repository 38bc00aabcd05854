"""The one source of jobs and paths, for both front ends and the command line."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from reclip.config import FolderSource, Params
from reclip.errors import ReclipError
from reclip.experiment import Experiment
from reclip.hashes import remembered_sha256
from reclip.jobs import STAGES, Job
from reclip.params import nearest
from reclip.photos import digest_of_photos
from reclip.weights import backbone_sha256, checkpoint_sha256, describe, describe_backbone


class Plan(Experiment):
    """Every job of an experiment.

    Paths are relative to the project's folder, where all commands run.
    """

    def __init__(self, params: Params):
        super().__init__(params)
        self.root = Path("results") / params.experiment
        self._jobs: dict[tuple[str, str], Job] = {}

    def job(self, stage: str, id: str) -> Job:
        """The job of `stage` on data set, run, table or experiment `id`.

        Raises ReclipError if there is no such thing.
        """
        if (stage, id) not in self._jobs:
            known = self.ids(stage)
            if id not in known:
                if stage == "evaluate" and id in self.params.runs:
                    self._measured_run(id, f"runs.{id}")
                kind = STAGES[stage][1]
                raise ReclipError(f"no {kind} '{id}' for {stage}{nearest(id, known)}")
            make = getattr(self, "_" + stage.replace("-", "_"))
            self._jobs[stage, id] = make(id)
        return self._jobs[stage, id]

    def ids(self, stage: str) -> list[str]:
        """What `stage` can be asked for."""
        params = self.params
        if stage == "fetch":
            return [d for d in params.datasets if self._source(d).kind not in IN_PLACE]
        if STAGES[stage][1] == "dataset":
            return list(params.datasets)
        if stage == "tabulate":
            return list(params.tables)
        if stage == "plot":
            return [params.experiment] if any(map(self.labelled, params.datasets)) else []
        if stage == "summarise":
            return [params.experiment] if self._own_photos() else []
        if stage == "check":
            return [params.experiment] if params.check else []
        if stage == "pseudo-mask":
            return [run for run in params.runs if self.taught_seeds(run) is not None]
        methods = {"rectify": {"rectify"}, "distill": {"distill"}, "probe": {"probe"}}
        methods["package"] = {"rectify", "distill"}
        if stage == "evaluate":
            return [run for run, s in params.runs.items() if self.labelled(s.dataset)]
        return [run for run, s in params.runs.items() if s.method in methods[stage]]

    @cached_property
    def jobs(self) -> list[Job]:
        """All jobs, each after its inputs."""
        return [self.job(stage, id) for stage in STAGES for id in self.ids(stage)]

    def _make(self, stage: str, id: str, folder: Path, settings: dict, **more: Any) -> Job:
        return Job(stage, id, self.root / folder, self.root / "plan", settings, **more)

    def _clip(self) -> dict[str, Any]:
        return {"clip": self.clip, "weights": checkpoint_sha256(self.clip)}

    def _fetch(self, dataset: str) -> Job:
        source = self.params.datasets[dataset].source
        source = source.model_copy(update={"limit": None})  # what is unpacked does not depend on it
        return self._make(
            "fetch",
            dataset,
            Path("raw") / dataset,
            {"source": source, "given": given_files(source)},
            # Where the archives lie says nothing of what is in them: no part of the digest.
            surroundings={"downloads": self.params.downloads},
        )

    def _prepare(self, dataset: str) -> Job:
        source = self._source(dataset)
        settings: dict[str, Any] = {"source": source}
        if source.kind == "folder":
            settings["photos"] = digests_of_folders(source)
        inputs = {} if source.kind in IN_PLACE else {"raw": self.job("fetch", dataset)}
        return self._make(
            "prepare",
            dataset,
            Path("data") / dataset,
            settings,
            inputs=inputs,
            surroundings={"loaders": self.params.compute.loaders},
        )

    def _embed_text(self, dataset: str) -> Job:
        return self._make(
            "embed-text",
            dataset,
            Path("text") / dataset,
            {
                **self._clip(),
                "prompts": self.section(dataset, "prompts"),
                "compute": self.params.compute,
            },
            inputs={"data": self.job("prepare", dataset)},
        )

    def _cache_features(self, dataset: str) -> Job:
        settings = {
            **self._clip(),
            "image": self.section(dataset, "image"),
            "views": self.section(dataset, "views"),
            "hypothesis_image": self.section(dataset, "hypotheses").image,
            "compute": self.params.compute,
        }
        return self._make(
            "cache-features",
            dataset,
            Path("features") / dataset,
            settings,
            inputs={"data": self.job("prepare", dataset)},
        )

    def _hypothesise(self, dataset: str) -> Job:
        return self._make(
            "hypothesise",
            dataset,
            Path("hypotheses") / dataset,
            {"hypotheses": self.section(dataset, "hypotheses")},
            inputs={
                "features": self.job("cache-features", dataset),
                "text": self.job("embed-text", dataset),
            },
        )

    def _rectify(self, run: str) -> Job:
        dataset = self.params.runs[run].dataset
        return self._make(
            "rectify",
            run,
            Path("runs") / run / "rectify",
            {
                **self._clip(),
                "rectify": self.rectify(run),
                "seeds": self.seeds(run),
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", dataset),
                "features": self.job("cache-features", dataset),
                "text": self.job("embed-text", dataset),
                "hypotheses": self.job("hypothesise", dataset),
            },
        )

    def _teacher(self, run: str) -> Job:
        """The job that holds the teacher's weights: its rectification, or the Query text alone."""
        settings = self.params.runs[run]
        if settings.method == "query":
            return self.job("embed-text", settings.dataset)
        return self.job("rectify", run)

    def _pseudo_mask(self, run: str) -> Job:
        dataset = self.params.runs[run].dataset
        return self._make(
            "pseudo-mask",
            run,
            Path("runs") / run / "pseudo-mask",
            {
                "pseudo_mask": self.run_section(run, "pseudo_mask"),
                "seeds": self.taught_seeds(run),
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", dataset),
                "features": self.job("cache-features", dataset),
                "teacher": self._teacher(run),
            },
        )

    def _distill(self, run: str) -> Job:
        settings = self.params.runs[run]
        dataset = settings.dataset
        sha256 = backbone_sha256(self.distill(run))
        backbone = {"weights": sha256} if sha256 else {}
        return self._make(
            "distill",
            run,
            Path("runs") / run / "distill",
            {
                "distill": self.distill(run),
                **backbone,
                "seeds": self.seeds(run),
                "seeded_teacher": self.params.runs[settings.teacher].method == "rectify",
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", dataset),
                "features": self.job("cache-features", dataset),
                "hypotheses": self.job("hypothesise", dataset),
                "masks": self.job("pseudo-mask", settings.teacher),
                "teacher": self._teacher(settings.teacher),
            },
        )

    def _probe(self, run: str) -> Job:
        settings = self.params.runs[run]
        return self._make(
            "probe",
            run,
            Path("runs") / run / "probe",
            {
                "probe": self.run_section(run, "probe"),
                "seeds": self.seeds(run),
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", settings.dataset),
                "features": self.job("cache-features", settings.dataset),
                "student": self.job("distill", settings.student),
            },
        )

    def _evaluate(self, run: str) -> Job:
        settings = self.params.runs[run]
        dataset = settings.dataset
        inputs = {
            "data": self.job("prepare", dataset),
            "features": self.job("cache-features", dataset),
            "hypotheses": self.job("hypothesise", dataset),
        }
        if settings.method == "query":
            inputs["model"] = self.job("embed-text", dataset)
        else:
            inputs["model"] = self.job(settings.method, run)
        return self._make(
            "evaluate",
            run,
            Path("runs") / run / "evaluate",
            {
                "dataset": dataset,
                "method": settings.method,
                "seeds": self.seeds(run),
                "evaluate": self.run_section(run, "evaluate"),
                "compute": self.params.compute,
            },
            inputs=inputs,
            outputs=(self.metrics_file(run),),
        )

    def _package(self, run: str) -> Job:
        """The first seed's model: any other choice among them would be by labels."""
        settings = self.params.runs[run]
        dataset = settings.dataset
        by_clip = settings.method == "rectify"
        weights = [describe(self.clip)]
        denoising = self.run_section(run, "evaluate").model_dump(exclude={"distance_bins"})
        inputs = {"data": self.job("prepare", dataset), "model": self.job(settings.method, run)}
        if not by_clip:
            weights.append(describe_backbone(self.distill(run)))
        if self.labelled(dataset):
            inputs["metrics"] = self.job("evaluate", run)
        return self._make(
            "package",
            run,
            Path("runs") / run / "model",
            {
                **self._clip(),
                "experiment": self.params.experiment,
                "dataset": dataset,
                "photos": self.params.datasets[dataset].source.kind,
                "method": settings.method,
                "teacher": settings.teacher,
                "seed": self.seeds(run)[0],
                "image": self.section(dataset, "image"),
                "denoising": denoising if by_clip else {},
                "trained": self.run_section(run, settings.method),
                "weights_of": weights,
            },
            inputs=inputs,
        )

    def packaged(self) -> list[str]:
        """Runs whose model a plain `snakemake` writes; others are written where asked for."""
        runs = self.params.runs.items()
        return [r for r, s in runs if s.method == "distill" and r not in self.check_only]

    def result(self, run: str) -> Job:
        """The job that a run is made for: its evaluation, or, without labels, what it trains."""
        settings = self.params.runs[run]
        if self.labelled(settings.dataset):
            return self.job("evaluate", run)
        if settings.method == "query":
            return self.job("embed-text", settings.dataset)
        return self.job(settings.method, run)

    def metrics_file(self, run: str) -> Path:
        return self.root / "runs" / run / "metrics.json"

    def table_runs(self, table: str) -> list[str]:
        """Runs that a table's measured cells need, in order."""
        cells = [c for row in self.params.tables[table].rows for c in row.cells.values()]
        return list(dict.fromkeys(cell.run for cell in cells if cell.run))

    def weights_of(self, table: str) -> list[str]:
        """What the weights are that a table's measured cells start from, a sentence each."""
        runs = self.table_runs(table)
        runs += [r for run in runs if (r := self.params.runs[run].student)]
        students = [r for r in runs if self.params.runs[r].method == "distill"]
        said = [describe(self.clip)] if runs else []
        return said + sorted({describe_backbone(self.distill(run)) for run in students})

    def _tabulate(self, table: str) -> Job:
        folder = Path("tables")
        return self._make(
            "tabulate",
            table,
            folder,
            {
                "table": self.params.tables[table],
                "experiment": self.params.experiment,
                "datasets": list(self.params.datasets),
                "weights": self.weights_of(table),
            },
            inputs={run: self.job("evaluate", run) for run in self.table_runs(table)},
            outputs=tuple(self.root / folder / f"{table}.{kind}" for kind in ("csv", "md", "html")),
            shares_folder=True,
        )

    def _plot(self, experiment: str) -> Job:
        labelled = filter(self.labelled, self.params.datasets)
        compared = {d: runs for d in labelled if (runs := self.compared(d))}
        check = self.params.check
        pictured = self.params.runs[check.query].dataset if check else next(iter(compared), None)
        inputs = {}
        for run in (run for runs in compared.values() for run in runs.values()):
            evaluation = self.job("evaluate", run)
            # Pictures predict again, from what the evaluation read.
            for job in (evaluation, *evaluation.inputs.values()):
                inputs[job.name] = job
        return self._make(
            "plot",
            experiment,
            Path("figures"),
            {
                "compared": compared,
                "pictured": pictured,
                "clip": self.clip,
                "compute": self.params.compute,
            },
            inputs=inputs,
            outputs=tuple(self.root / "figures" / name for name in (*FIGURES, "bias.csv")),
        )

    def folders(self) -> list[str]:
        """Folders of a person's own photos and labels, whose contents decide what is stale."""
        sources = map(self._source, self.params.datasets)
        named = [getattr(s, key) for s in sources if s.kind == "folder" for key in FOLDERS]
        return list(dict.fromkeys(os.path.expanduser(path) for path in named if path))

    def _own_photos(self) -> dict[str, str]:
        """Data sets of a person's own photos, each with the rectified run that teaches in it."""
        found = {}
        for dataset in self.params.datasets:
            student = self.compared(dataset).get("distilled")
            if self._source(dataset).kind == "folder" and student:
                teacher = self.params.runs[student].teacher
                if self.params.runs[teacher].method == "rectify":
                    found[dataset] = teacher
        return found

    def _summarise(self, experiment: str) -> Job:
        inputs, settings = {}, {}
        for dataset, run in self._own_photos().items():
            for stage in ("prepare", "embed-text", "cache-features", "hypothesise"):
                inputs[f"{stage} {dataset}"] = self.job(stage, dataset)
            for stage in ("rectify", "pseudo-mask"):
                inputs[f"{stage} {dataset}"] = self.job(stage, run)
            settings[dataset] = {
                "seed": self.taught_seeds(run)[0],
                "hypotheses": self.section(dataset, "hypotheses"),
            }
        return self._make(
            "summarise",
            experiment,
            Path("summary"),
            {"datasets": settings, "compute": self.params.compute},
            inputs=inputs,
            outputs=tuple(self.root / "summary" / name for name in ("summary.md", "summary.json")),
        )

    def _check(self, experiment: str) -> Job:
        check = self.params.check
        return self._make(
            "check",
            experiment,
            Path("check"),
            {"check": check},
            inputs={run: self.job("evaluate", run) for run in check.model_dump().values()},
            outputs=(self.root / "check" / "check.md",),
        )


def digests_of_folders(source: FolderSource) -> dict[str, str]:
    """What the folders of photos and labels hold: any photo that comes, goes or changes shows."""
    named = {key: path for key in FOLDERS if (path := getattr(source, key))}
    limits = {"images": source.limit, "val_images": source.limit}
    return {k: digest_of_photos(p, f"source.{k}", limits.get(k)) for k, p in named.items()}


def given_files(source: Any) -> dict[str, str]:
    """sha256 of the files that a source names; those that are URLs or not there say nothing."""
    named = {key: getattr(source, key, None) for key in ("archive", "labels")}
    paths = {key: Path(where).expanduser() for key, where in named.items() if where}
    return {key: remembered_sha256(path) for key, path in paths.items() if path.is_file()}


# Kinds of sources of which nothing is fetched: drawn, or used where they are.
IN_PLACE = ("world", "folder")
FOLDERS = ("images", "val_images", "val_labels")  # of a person's own photos

# The report's pictures; `reclip.evaluate.plot` draws each.
FIGURES = (
    "examples.png",
    "heatmaps.png",
    "distance.png",
    "confusion.png",
    "per-class-iou.png",
    "curves.png",
    "bias.png",
)
