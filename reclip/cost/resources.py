"""What each job asks a scheduler for: GPUs, memory, minutes and threads.

The costs of a job take seconds to compute and depend on the settings, the photos and the code
alone. So they are computed once and kept in `results/<experiment>/.costs.json`. What a job asks
for follows from them and from the machine it runs on. Importing this module is cheap.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from reclip.common.errors import ReclipError
from reclip.common.files import canonical_json, read_json, text_sha256, write_json
from reclip.common.text import nearest
from reclip.cost.machines import (
    CPU,
    DEFAULT_GPU,
    GPUS,
    PREFETCHING,
    TRAINING,
    Rates,
    Work,
    cpu,
    seconds,
)
from reclip.cost.need import Need
from reclip.device.gpus import uses_gpu
from reclip.pipeline.code_digest import PACKAGE
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import why_stale
from reclip.pipeline.stages import STAGES

# benchmarks/memory.py: no job took more than 1.13 times the prediction.
MEMORY_MARGIN = 1.3
SNAKEMAKE = 0.3e9  # bytes of Snakemake itself, which starts the job on a cluster's node
# Of the hours, which are estimates that were not measured on a GPU, and for a slow start.
TIME_MARGIN, START_MINUTES = 2.0, 15
DOWNLOAD_RATE = 2e6  # bytes/s, of an archive
MEGABYTE = 1e6  # a scheduler's MB
ROUNDED = 100  # megabytes


class Cost(NamedTuple):
    """The work of a job and the memory of one of its processes, whatever machine it runs on."""

    work: Work
    need: Need


class Resources(NamedTuple):
    """What a job asks for.

    Attributes:
        gpu: number of GPUs.
        mem_mb: megabytes of the host's memory.
        gpu_memory_mb: megabytes of each GPU's, 0 without one; for the user, no scheduler counts it.
        runtime: minutes.
        threads: that compute and that read ahead.
    """

    gpu: int
    mem_mb: int
    gpu_memory_mb: int
    runtime: int
    threads: int


def require_machine(name: str) -> None:
    """Raise ReclipError unless `name` is a machine whose rates are known."""
    if name not in (CPU, *GPUS):
        raise ReclipError(
            f"unknown machine '{name}'{nearest(name, [CPU, *GPUS])}; name the one that is most "
            f"like yours"
        )


def gpus(job: Job, machine: str | None = None) -> int:
    """Return the number of GPUs that a job computes on.

    machine: the other machine that it runs on; None is this machine.
    """
    compute = job.settings.get("compute")
    if compute is None or not uses_gpu(compute, machine):
        return 0
    return compute.gpus if STAGES[job.stage].trains else 1


def processes(plan: Plan, stage: str) -> int:
    """Return the number of processes that a job of a stage computes in."""
    return plan.params.compute.gpus if stage in TRAINING else 1


def threads(plan: Plan, stage: str) -> int:
    """Return the threads of a stage's jobs: those that compute and those that read ahead."""
    compute = plan.params.compute
    one = compute.threads + compute.loaders * (stage in PREFETCHING)
    return processes(plan, stage) * one


def resources(plan: Plan, job: Job, costs: dict[str, Cost], machine: str | None) -> Resources:
    """Return what a job asks for on a machine: one of GPUS, "cpu", or None for this machine."""
    cost, gpu = costs[_key(job.stage, job.id)], gpus(job, machine)
    number, compute = processes(plan, job.stage), plan.params.compute
    loaders = compute.loaders * (job.stage in PREFETCHING) * bool(gpu)
    rates = _rates(plan, machine if gpu else CPU).of(job.stage, compute.precision)
    time = seconds(_of_process(cost.work, number), rates, loaders)
    if job.stage == "fetch":
        time += cost.work.written / DOWNLOAD_RATE
    need = cost.need
    host = number * (need.beside_gpu if gpu else need.on_cpu)
    return Resources(
        gpu=gpu,
        mem_mb=_megabytes(SNAKEMAKE + MEMORY_MARGIN * host),
        gpu_memory_mb=_megabytes(MEMORY_MARGIN * need.on_gpu) if gpu else 0,
        runtime=START_MINUTES + math.ceil(TIME_MARGIN * time / 60),
        threads=threads(plan, job.stage),
    )


def _of_process(work: Work, number: int) -> Work:
    """Return the work of one of `number` processes: they share the images, each takes all steps."""
    names = ("matmul", "conv", "resized", "megapixels", "read")
    return replace(work, **{name: getattr(work, name) / number for name in names})


def _rates(plan: Plan, machine: str | None) -> Rates:
    if machine == CPU:
        return cpu(plan.params.compute.threads)
    return GPUS[machine or DEFAULT_GPU]


def _megabytes(size: float) -> int:
    return ROUNDED * math.ceil(size / MEGABYTE / ROUNDED)


def _key(stage: str, id: str) -> str:
    return f"{stage} {id}"  # a run's seeds have the same costs


def costs_file(plan: Plan) -> Path:
    return plan.root / ".costs.json"


def costs(plan: Plan) -> dict[str, Cost] | None:
    """Return the costs of all jobs as they were computed; None if something has changed since."""
    try:
        kept = read_json(costs_file(plan))
        if kept["digest"] != digest(plan):
            return None
        return {key: Cost(Work(**c["work"]), Need(**c["need"])) for key, c in kept["jobs"].items()}
    except (OSError, json.JSONDecodeError, KeyError, TypeError):
        return None


def compute_costs(plan: Plan) -> dict[str, Cost]:
    """Compute the costs of all jobs, keep them in a file and return them.

    Raises ReclipError: an unknown CLIP or backbone, or the file cannot be written.
    """
    if (known := costs(plan)) is not None:
        return known
    from reclip.cost.facts import Facts
    from reclip.cost.memory import NEED_OF
    from reclip.cost.stage_work import WORK_OF, summarise

    facts = Facts(plan)
    works = {**WORK_OF, "summarise": summarise}
    found = {
        _key(stage, id): Cost(
            works[stage](facts, id) if stage in works else Work(), NEED_OF[stage](facts, id)
        )
        for stage in STAGES
        for id in plan.ids(stage)
    }
    jobs = {
        key: {"work": asdict(cost.work), "need": cost.need._asdict()} for key, cost in found.items()
    }
    write_json(costs_file(plan), {"digest": digest(plan), "jobs": jobs})
    return found


def digest(plan: Plan) -> str:
    """Return the digest of everything that the costs depend on."""
    prepared = [plan.job("prepare", dataset) for dataset in plan.params.datasets]
    content: dict[str, Any] = {
        "params": plan.params.model_dump(mode="json"),
        "compute": vars(plan.params.compute),  # the dump lacks what changes no result
        # A prepared dataset is counted from its index, others from their source.
        "photos": {job.id: [job.digest, why_stale(job) is None] for job in prepared},
        "code": {
            path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(PACKAGE.rglob("*.py"))
        },
    }
    return text_sha256(canonical_json(content))
