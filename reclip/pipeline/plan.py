"""The plan: all jobs of an experiment, for both front ends and the command line."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Self

from reclip.common.errors import ReclipError
from reclip.common.text import nearest
from reclip.config import PARAMS
from reclip.config.checks import check_experiment, require_measured
from reclip.config.load import load_params
from reclip.config.models import Params
from reclip.config.resolve import Experiment
from reclip.pipeline import recipes
from reclip.pipeline.job import Job
from reclip.pipeline.stages import RULES, STAGES


class Plan:
    """Every job of an experiment. Paths are relative to the project's folder.

    Attributes:
        params: the settings file's content.
        experiment: the resolved settings.
        root: the folder of the results.
        file: the settings file, as commands in messages name it.
    Raises ReclipError: a run, table or check names something that does not exist.
    """

    def __init__(self, params: Params, file: str | Path = PARAMS):
        self.params = params
        self.experiment = Experiment(params)
        check_experiment(self.experiment, RULES)
        self.root = Path("results") / params.experiment
        self.file = str(file)
        self._ids: dict[str, list[str]] = {}
        self._jobs: dict[tuple[str, str], Job] = {}

    @classmethod
    def load(cls, path: str | Path = PARAMS) -> Self:
        """Read a settings file. Raises ReclipError: the file or a setting is invalid."""
        return cls(load_params(path), path)

    def ids(self, stage: str) -> list[str]:
        """Return the ids of a stage's jobs."""
        if stage not in self._ids:
            self._ids[stage] = recipes.ids(self.experiment, stage)
        return self._ids[stage]

    def job(self, stage: str, id: str) -> Job:
        """Return the job of `stage` on the dataset, run, table or experiment `id`.

        Raises ReclipError: there is no such job.
        """
        if (stage, id) not in self._jobs:
            known = self.ids(stage)
            if id not in known:
                if stage == "evaluate" and id in self.params.runs:
                    require_measured(self.experiment, id, f"runs.{id}")
                kind = STAGES[stage].kind
                raise ReclipError(f"no {kind} '{id}' for {stage}{nearest(id, known)}")
            self._jobs[stage, id] = recipes.RECIPES[stage](self, id)
        return self._jobs[stage, id]

    @cached_property
    def jobs(self) -> list[Job]:
        """All jobs, each after its inputs."""
        return [self.job(stage, id) for stage in STAGES for id in self.ids(stage)]

    def result(self, run: str) -> Job:
        """Return a run's last job: its evaluation, or without labels the job that trains it."""
        labelled = self.experiment.labelled(self.params.runs[run].dataset)
        return self.job("evaluate", run) if labelled else recipes.trained(self, run)

    @cached_property
    def targets(self) -> list[Job]:
        """The jobs that plain `snakemake` asks for: no job of the check alone."""
        runs = [run for run in self.params.runs if run not in self.experiment.check_only]
        students = [run for run in runs if self.params.runs[run].method == "distill"]
        always = ("tabulate", "plot", "summarise")
        return [
            *map(self.result, runs),
            *(self.job("package", run) for run in students),
            *(self.job(stage, id) for stage in always for id in self.ids(stage)),
        ]

    @cached_property
    def default_jobs(self) -> list[Job]:
        """The jobs of plain `snakemake`: its targets and everything that they read, in order."""
        needed = set(self.targets)
        for job in reversed(self.jobs):  # each before its inputs
            if job in needed:
                needed.update(job.inputs.values())
        return [job for job in self.jobs if job in needed]
