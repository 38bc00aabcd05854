"""Every job of a plan with its work, without making the job: its weights may not be here yet."""

from __future__ import annotations

from typing import NamedTuple

from reclip.cost import data_work, prediction_work, training_work
from reclip.cost.known import Known
from reclip.cost.work import Work
from reclip.pipeline.stages import STAGES

WORK_OF = {
    "fetch": data_work.fetch,
    "prepare": data_work.prepare,
    "embed-text": data_work.embed_text,
    "cache-features": data_work.cache_features,
    "hypothesise": data_work.hypothesise,
    "rectify": training_work.rectify,
    "pseudo-mask": prediction_work.pseudo_mask,
    "distill": training_work.distill,
    "probe": training_work.probe,
    "evaluate": prediction_work.evaluate,
    "package": training_work.package,
}
TRAINING = ("rectify", "distill", "probe")
READ_AHEAD = ("cache-features", *TRAINING)  # by `compute.loaders` threads


class JobCost(NamedTuple):
    """A job's stage, id, dataset ("" for tables and figures), trainings, and work.

    loaders: threads that read ahead for it.
    for_check: whether its run is one that only `<experiment>_check` asks for.
    """

    stage: str
    id: str
    dataset: str
    trainings: int
    work: Work
    loaders: int
    for_check: bool


def job_costs(known: Known) -> list[JobCost]:
    """In the pipeline's order."""
    return [_cost(known, stage, id) for stage in STAGES for id in known.plan.ids(stage)]


def _cost(known: Known, stage: str, id: str) -> JobCost:
    kind = STAGES[stage].kind
    dataset = {"dataset": id, "run": known.dataset(id) if kind == "run" else ""}.get(kind, "")
    work = WORK_OF[stage](known, id) if stage in WORK_OF else Work()
    trainings = len(known.plan.experiment.seeds(id)) if stage in TRAINING else 0
    for_check = kind == "run" and id in known.plan.experiment.check_only
    loaders = known.plan.params.compute.loaders if stage in READ_AHEAD else 0
    return JobCost(stage, id, dataset, trainings, work, loaders, for_check)
