"""The one source of jobs and paths, for both front ends and the command line."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from reclip.pipeline.job import STAGES, Job
from reclip.pipeline.own_files import FOLDERS
from reclip.pipeline.recipes import TrainingJobs
from reclip.weights.identity import describe, describe_backbone


class Plan(TrainingJobs):
    """Every job of an experiment."""

    def job(self, stage: str, id: str) -> Job:
        if stage == "evaluate" and id in self.params.runs:
            self._measured_run(id, f"runs.{id}")
        return super().job(stage, id)

    def ids(self, stage: str) -> list[str]:
        params = self.params
        asked = {
            "tabulate": list(params.tables),
            "plot": [params.experiment] if any(map(self.labelled, params.datasets)) else [],
            "summarise": [params.experiment] if self._own_photos() else [],
            "check": [params.experiment] if params.check else [],
            "evaluate": [run for run, s in params.runs.items() if self.labelled(s.dataset)],
            "package": [r for r, s in params.runs.items() if s.method in ("rectify", "distill")],
        }
        return asked[stage] if stage in asked else super().ids(stage)

    @cached_property
    def jobs(self) -> list[Job]:
        """All jobs, each after its inputs."""
        return [self.job(stage, id) for stage in STAGES for id in self.ids(stage)]

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


# The report's pictures; `reclip.stages.plot` draws each.
FIGURES = (
    "examples.png",
    "heatmaps.png",
    "distance.png",
    "confusion.png",
    "per-class-iou.png",
    "curves.png",
    "bias.png",
)
