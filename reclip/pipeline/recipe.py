"""What a recipe is: the variable parts of a stage's jobs, and how jobs are made of them.

A recipe names its folder and the inputs that are jobs on its dataset, as role to stage. The
function returns the settings that the stage may read, and the other inputs and outputs. That of a
stage with a job a seed also gets the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from reclip.config.resolve import Experiment
from reclip.pipeline.job import Job, seed_part
from reclip.pipeline.stages import STAGES


class Jobs(Protocol):
    """What recipes need of a plan: the experiment, its results folder and its other jobs."""

    experiment: Experiment
    root: Path

    def job(self, stage: str, id: str, seed: int | None = None) -> Job: ...


@dataclass
class Recipe:
    """The variable parts of a job; see `Job` for their meaning."""

    settings: dict[str, Any]
    inputs: dict[str, Job] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)


RECIPES: dict[str, Callable[[Jobs, str, int | None], Job]] = {}
"""By stage: a function of the plan, the id of a dataset, run, table or experiment, and the seed."""


def recipe(folder: str, **inputs: str) -> Callable[[Callable[..., Recipe]], Callable]:
    """Register a function as the recipe of the stage of its name.

    Args:
        folder: of the job below the results, with `{}` for its id. Without it, all ids share it.
            A seed's job has a folder of its own in it.
        inputs: role to stage, of jobs on the job's dataset.
    """

    def register(function: Callable[..., Recipe]) -> Callable:
        stage = STAGES[function.__name__.replace("_", "-")]
        seeded = stage.kind == "seed"

        def make(jobs: Jobs, id: str, seed: int | None) -> Job:
            dataset = jobs.experiment.params.runs[id].dataset if stage.names == "run" else id
            own = function(jobs, id, *[seed] * seeded)
            place = jobs.root / folder.format(id)
            needed = {role: on_dataset(jobs, of, dataset) for role, of in inputs.items()}
            return Job(
                stage=stage.name,
                id=id,
                seed=seed,
                folder=place / seed_part(seed) if seeded else place,
                plan_folder=jobs.root / "plan",
                settings=own.settings,
                inputs=needed | own.inputs,
                outputs=tuple(jobs.root / path for path in own.outputs),
                environment=own.environment,
                shares_folder=stage.kind == "table",
            )

        RECIPES[stage.name] = make
        return function

    return register


def on_dataset(jobs: Jobs, stage: str, dataset: str) -> Job:
    """Return the job of a stage on a dataset. All readings of the same photos share hypotheses."""
    return jobs.job(stage, jobs.experiment.origin(dataset) if stage == "hypothesise" else dataset)
