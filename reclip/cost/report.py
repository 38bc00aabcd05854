"""`reclip plan --cost`: the costs of every stage, with the assumptions and measurements."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from reclip.cost import machines
from reclip.cost.calibrate import calibrate
from reclip.cost.machines import DEFAULT_GPU, GPUS, Gpu, Rates, gpu_rates, jobs_at_once, seconds
from reclip.cost.stage_work import WORK_OF, Facts
from reclip.cost.work import Work
from reclip.pipeline.plan import Plan
from reclip.pipeline.stages import STAGES

TRAINING = ("rectify", "distill", "probe")
PREFETCHING = ("cache-features", *TRAINING)  # with `compute.loaders` threads


class JobCost(NamedTuple):
    """The costs of a job.

    Attributes:
        dataset: "" for tables and figures.
        trainings: number of trainings, one a seed.
        loaders: threads that prefetch for it.
        for_check: whether only `<experiment>_check` asks for its run.
    """

    stage: str
    id: str
    dataset: str
    trainings: int
    work: Work
    loaders: int
    for_check: bool


def job_costs(facts: Facts) -> list[JobCost]:
    """Return the costs of all jobs, in order. No data or weights are needed."""
    return [_cost(facts, stage, id) for stage in STAGES for id in facts.plan.ids(stage)]


def _cost(facts: Facts, stage: str, id: str) -> JobCost:
    kind = STAGES[stage].kind
    return JobCost(
        stage,
        id,
        dataset={"dataset": id, "run": facts.dataset(id) if kind == "run" else ""}.get(kind, ""),
        trainings=len(facts.experiment.seeds(id)) if stage in TRAINING else 0,
        work=WORK_OF[stage](facts, id) if stage in WORK_OF else Work(),
        loaders=facts.plan.params.compute.loaders if stage in PREFETCHING else 0,
        for_check=kind == "run" and id in facts.experiment.check_only,
    )


def summary(costs: list[JobCost], gpu: Rates, here: Rates | None, at_once: int) -> pd.DataFrame:
    """Return a row for each stage and dataset, in order, then the total and the check's part.

    Columns: jobs, trainings, flops, bytes, gpu_hours and, if `here` is given, hours_here.
    at_once: number of jobs that run at the same time on this machine.
    """
    jobs = pd.DataFrame(costs).assign(
        jobs=1,
        flops=[cost.work.flops for cost in costs],
        bytes=[cost.work.written for cost in costs],
        gpu_hours=[seconds(cost.work, gpu, cost.loaders) / 3600 for cost in costs],
    )
    if here:
        # On a CPU all cores compute, so prefetching threads save no time.
        jobs["hours_here"] = [
            seconds(cost.work, here, cost.loaders * here.overlap) / at_once / 3600 for cost in costs
        ]
    jobs["stage"] = jobs["stage"].where(jobs["stage"].isin(WORK_OF), "tables, figures")
    parts = [jobs, jobs.assign(stage="total", dataset="")]
    if jobs["for_check"].any():
        check = jobs[jobs["for_check"]]
        parts.append(check.assign(stage="of it for the check alone", dataset=""))
    groups = [part.groupby(["stage", "dataset"], sort=False) for part in parts]
    return pd.concat([group.sum(numeric_only=True) for group in groups]).reset_index()


def amount(value: float, unit: str = "") -> str:
    """Return three digits with a prefix; an empty text for 0."""
    for prefix, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return f"{_digits(value / size, 3)} {prefix}{unit}"
    return f"{value:.0f} {unit}".strip() if value else ""


def hours(value: float) -> str:
    """Return two digits, with at most two decimals."""
    return _digits(value, 2) if value >= 0.005 else "<0.01"


def _digits(value: float, count: int) -> str:
    """Round to `count` digits and write without exponent."""
    value = float(f"{value:.{count}g}")
    whole = len(str(int(value))) if value >= 1 else 0
    return f"{value:,.{min(2, max(0, count - whole))}f}"


def cost_text(plan: Plan, gpu: str = DEFAULT_GPU, measure: bool = True) -> str:
    """Return the costs of a plan for a terminal.

    measure: also time this machine for some seconds and estimate the hours here.
    Raises ReclipError: an unknown CLIP or backbone, or a machine that cannot be measured.
    """
    facts, datasheet = Facts(plan), GPUS[gpu]
    here = calibrate(facts, next(iter(facts.census))) if measure else None
    table = _table(facts, datasheet, here)
    for name in ("stage", "dataset"):  # to the left; pandas writes all columns to the right
        width = max(len(name), table[name].str.len().max())
        table[name] = table[name].str.ljust(width)
        table = table.rename(columns={name: name.ljust(width)})
    notes = _notes(facts, datasheet)
    if here:
        notes.append(_measured(plan.params.compute.threads, here))
    return "\n".join([table.to_string(index=False), "", *notes])


def cost_markdown(plan: Plan, gpu: str = DEFAULT_GPU, use_index: bool = True) -> str:
    """Return the costs as Markdown, without anything that depends on this machine.

    use_index: count the photos of prepared datasets; the text then depends on them.
    """
    facts, datasheet = Facts(plan, use_index), GPUS[gpu]
    table = _table(facts, datasheet, None)
    # pandas' `to_markdown` needs another package (tabulate).
    marks = ["---"] * 2 + ["---:"] * (len(table.columns) - 2)
    lines = [f"| {' | '.join(line)} |" for line in (table.columns, marks, *table.to_numpy())]
    return "\n".join([*lines, "", *(f"- {note}" for note in _notes(facts, datasheet))])


def _table(facts: Facts, gpu: Gpu, here: Rates | None) -> pd.DataFrame:
    """Return the summary in words."""
    at_once = jobs_at_once(facts.plan.params.compute.threads, here) if here else 1
    rows = summary(job_costs(facts), gpu_rates(gpu), here, at_once)
    words = {
        "stage": str, "dataset": str, "jobs": str, "trainings": lambda n: str(n or ""),
        "flops": amount, "bytes": lambda n: amount(n, "B"), "gpu_hours": hours, "hours_here": hours,
    }  # fmt: skip
    names = {
        "flops": "FLOP",
        "bytes": "disk",
        "gpu_hours": f"hours, {gpu.name} (estimate)",
        "hours_here": "hours here",
    }
    columns = [name for name in words if name in rows]
    return rows[columns].apply(lambda column: column.map(words[column.name])).rename(columns=names)


def _notes(facts: Facts, gpu: Gpu) -> list[str]:
    """Return the assumptions behind the table."""
    origins: dict[str, list[str]] = {}
    for dataset, census in facts.census.items():
        origins.setdefault(census.origin, []).append(dataset)
    photos = "; ".join(f"{', '.join(named)}: {origin}" for origin, named in origins.items())
    step, call = (
        1000 * count * machines.OPERATION_SECONDS
        for count in (machines.STEP_OPERATIONS, machines.CALL_OPERATIONS)
    )
    loaders = facts.plan.params.compute.loaders
    reading = (
        f"prefetched by {loaders} threads in the stages that can"
        if loaders
        else "read before each step, not during it (compute.loaders: 0)"
    )
    return [
        f"Photos of {photos}.",
        "Trainings are runs times seeds; FLOP, disk and hours are those of all trainings together."
        " FLOP are 2 × multiply-adds of matrix products and convolutions, and 8 for each resized"
        " value.",
        "Rectification reads cached features: CLIP's image tower runs only in cache-features. A"
        " training keeps twice its weights more on disk until it ends.",
        f"Hours on the {gpu.name} are an estimate, nothing was measured on one. They assume one"
        f" job at a time; float32 matrix products at {machines.FP32_EFFICIENCY:.0%} of"
        f" {gpu.fp32 / 1e12:g} TFLOP/s; convolutions (TF32 where the GPU has it) at"
        f" {machines.TF32_EFFICIENCY:.0%} of {gpu.tf32 / 1e12:g} TFLOP/s; at least"
        f" {step:.0f} ms a training step and {call:.0f} ms another pass, to launch it; photos at"
        f" {1000 * machines.MEGAPIXEL_SECONDS:.0f} ms a megapixel and core and files at"
        f" {machines.READ_RATE / 1e9:g} GB/s, {reading}; {machines.START_SECONDS:g} s for a job"
        " to start. Downloads are not included.",
    ]


def _measured(threads: int, here: Rates) -> str:
    return (
        f"Measured here: matrix products of the image tower {here.matmul / 1e9:,.0f} GFLOP/s,"
        f" training the student {here.conv / 1e9:,.0f} GFLOP/s, resizing logits"
        f" {here.resize / 1e6:,.0f} million values/s, {here.operations / 1e3:,.0f} thousand small"
        f" operations/s, photos {here.megapixels:.0f} megapixels/s, disk"
        f" {here.write / 1e6:,.0f} MB/s to write and {here.read / 1e6:,.0f} MB/s to read; with"
        f" {threads} thread{'s' * (threads > 1)} a job, {jobs_at_once(threads, here)} at once, as"
        " Snakemake runs them."
    )
