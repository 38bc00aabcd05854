"""The plan: all jobs of an experiment, for both front ends and the command line."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Self

from reclip.common.errors import ReclipError
from reclip.common.text import listed, nearest
from reclip.config import PARAMS
from reclip.config.checks import check_experiment, require_measured
from reclip.config.load import load_params
from reclip.config.params import Params
from reclip.config.resolve import Experiment
from reclip.pipeline import recipes
from reclip.pipeline.job import Job
from reclip.pipeline.recipe import RECIPES
from reclip.pipeline.stages import RULES, STAGES


class Plan:
    """Every job of an experiment. Paths are relative to the project's folder.

    Attributes:
        params: the settings file's content.
        experiment: the resolved settings.
        root: the folder of the results.
        file: the settings file, as commands in messages name it.
    Raises ReclipError: a run or table names something that does not exist.
    """

    def __init__(self, params: Params, file: str | Path = PARAMS):
        self.params = params
        self.experiment = Experiment(params)
        check_experiment(self.experiment, RULES)
        self.root = Path("results") / params.experiment
        self.file = str(file)
        self._ids: dict[str, list[str]] = {}
        self._jobs: dict[tuple[str, str, int | None], Job] = {}

    @classmethod
    def load(cls, path: str | Path = PARAMS) -> Self:
        """Read a settings file. Raises ReclipError: the file or a setting is invalid."""
        return cls(load_params(path), path)

    def ids(self, stage: str) -> list[str]:
        """Return the names that a stage has jobs for: of datasets, runs or tables."""
        if stage not in self._ids:
            self._ids[stage] = recipes.ids(self.experiment, stage)
        return self._ids[stage]

    def seeds(self, stage: str, id: str) -> tuple[int | None, ...]:
        """Return the seeds of the jobs of a stage on `id`; None for its one job without a seed.

        They are the run's own and those that the check adds.
        """
        return recipes.seeds(self.experiment, stage, id)

    def job(self, stage: str, id: str, seed: int | None = None) -> Job:
        """Return the job of `stage` on the dataset, run, table or experiment `id`.

        seed: of the run, for a stage that has a job a seed.
        Raises ReclipError: there is no such job.
        """
        if (stage, id, seed) not in self._jobs:
            known = self.ids(stage)
            if id not in known:
                if stage in ("evaluate", "gather") and id in self.params.runs:
                    require_measured(self.experiment, id, f"runs.{id}")
                raise ReclipError(
                    f"no {STAGES[stage].names} '{id}' for {stage}{nearest(id, known)}"
                )
            if seed not in self.seeds(stage, id):
                raise ReclipError(self._no_seed(stage, id, seed))
            self._jobs[stage, id, seed] = RECIPES[stage](self, id, seed)
        return self._jobs[stage, id, seed]

    def _no_seed(self, stage: str, id: str, seed: int | None) -> str:
        """Return in words why a stage has no job for a seed, and what to do."""
        known = self.seeds(stage, id)
        if known == (None,):
            return f"{stage} {id} has no seeds: leave out --seed {seed}"
        said = listed([str(s) for s in known], most=20)
        if seed is None:
            return f"{stage} runs one seed of '{id}' at a time: name one of {said} with --seed"
        if stage == "pseudo-mask":
            return f"no student learns from seed {seed} of '{id}', but from {said}"
        return f"run '{id}' has no seed {seed}, but {said}: add it to the run's `seeds`"

    def jobs_of(self, stage: str, id: str) -> list[Job]:
        """Return the jobs of a stage on `id`: one a seed, or one."""
        return [self.job(stage, id, seed) for seed in self.seeds(stage, id)]

    @cached_property
    def jobs(self) -> list[Job]:
        """All jobs, each after its inputs."""
        return [
            job for stage in STAGES for id in self.ids(stage) for job in self.jobs_of(stage, id)
        ]

    def trained(self, run: str) -> list[Job]:
        """Return the jobs that hold a run's weights, one for each of its own seeds."""
        seeds = self.experiment.seeds(run) or (None,)
        return [recipes.trained(self, run, seed) for seed in seeds]

    def results(self, run: str) -> list[Job]:
        """Return a run's last jobs: that of its metrics, or without labels those of its weights."""
        labelled = self.experiment.labelled(self.params.runs[run].dataset)
        return [self.job("gather", run)] if labelled else self.trained(run)

    @cached_property
    def targets(self) -> list[Job]:
        """The jobs that plain `snakemake` asks for: neither the check nor its additional seeds."""
        runs = list(self.params.runs)
        students = [run for run in runs if self.params.runs[run].method == "distill"]
        always = ("tabulate", "plot", "summarise")
        return [
            *(job for run in runs for job in self.results(run)),
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
