"""`reclip plan --cost`: the table, and under it what was assumed and what was measured."""

from __future__ import annotations

from reclip.cost import machines
from reclip.cost.calibrate import calibrate
from reclip.cost.jobs import job_costs
from reclip.cost.known import Known
from reclip.cost.machines import DEFAULT_GPU, GPUS, Gpu, Rates, gpu_rates
from reclip.cost.table import cells, header, markdown, plain_text, rows
from reclip.pipeline.plan import Plan


def cost_text(plan: Plan, gpu: str = DEFAULT_GPU, measure: bool = True) -> str:
    """The costs of a plan for a terminal.

    measure: also time this machine (some seconds) and say how long the jobs would take here.
    Raises ReclipError: an unknown CLIP or backbone, or a machine that cannot be measured.
    """
    known, datasheet = Known(plan), GPUS[gpu]
    here = calibrate(known, next(iter(known.census))) if measure else None
    notes = [*_notes(known, datasheet), *(_measured(plan, here) if here else [])]
    return "\n".join([plain_text(_lines(known, datasheet, here)), "", *notes])


def cost_markdown(plan: Plan, gpu: str = DEFAULT_GPU, use_index: bool = True) -> str:
    """The same as Markdown, without what depends on the machine; the same for the same plan.

    use_index: count prepared datasets' photos, which makes it depend on what is prepared.
    """
    known, datasheet = Known(plan, use_index), GPUS[gpu]
    notes = [f"- {note}" for note in _notes(known, datasheet)]
    return "\n".join([markdown(_lines(known, datasheet, None)), "", *notes])


def _lines(known: Known, gpu: Gpu, here: Rates | None) -> list[list[str]]:
    at_once = _jobs_at_once(known.plan, here) if here else 1
    found = rows(job_costs(known), gpu_rates(gpu), here, at_once)
    return [header(gpu.name, here is not None), *map(cells, found)]


def _jobs_at_once(plan: Plan, here: Rates) -> int:
    """A GPU computes for one job at a time, cores for as many as have their threads."""
    return 1 if here.overlap else machines.jobs_at_once(plan.params.compute.threads)


def _notes(known: Known, gpu: Gpu) -> list[str]:
    origins: dict[str, list[str]] = {}
    for dataset, census in known.census.items():
        origins.setdefault(census.origin, []).append(dataset)
    photos = "; ".join(f"{', '.join(named)}: {origin}" for origin, named in origins.items())
    step, call = (
        1000 * count * machines.OPERATION_SECONDS
        for count in (machines.STEP_OPERATIONS, machines.CALL_OPERATIONS)
    )
    loaders = known.plan.params.compute.loaders
    reading = (
        f"read ahead by {loaders} threads in the stages that can"
        if loaders
        else "read before each step, not during it (compute.loaders: 0)"
    )
    return [
        f"Photos of {photos}.",
        "Trainings are runs times seeds; FLOP, disk and hours are of all of them. FLOP are 2 ×"
        " multiply-adds of matrix products and convolutions, and 8 for a value that is resized.",
        "Rectification reads cached features: CLIP's image tower runs in cache-features alone. A"
        " training keeps twice its weights more on disk until it ends.",
        f"Hours on the {gpu.name} are an estimate, nothing was measured on one. They assume one"
        f" job at a time; float32 matrix products at {machines.FP32_EFFICIENCY:.0%} of"
        f" {gpu.fp32 / 1e12:g} TFLOP/s; convolutions (TF32 where the GPU has it) at"
        f" {machines.TF32_EFFICIENCY:.0%} of {gpu.tf32 / 1e12:g} TFLOP/s; at least"
        f" {step:.0f} ms a training step and {call:.0f} ms another pass, to launch it; photos at"
        f" {1000 * machines.MEGAPIXEL_SECONDS:.0f} ms a megapixel and core and files at"
        f" {machines.READ_RATE / 1e9:g} GB/s, {reading}; {machines.START_SECONDS:g} s for a job"
        " to start. Downloading is not in it.",
    ]


def _measured(plan: Plan, here: Rates) -> list[str]:
    at_once, threads = _jobs_at_once(plan, here), plan.params.compute.threads
    return [
        f"Measured here: matrix products of the image tower {here.matmul / 1e9:,.0f} GFLOP/s,"
        f" training the student {here.conv / 1e9:,.0f} GFLOP/s, resizing logits"
        f" {here.resize / 1e6:,.0f} million values/s, {here.operations / 1e3:,.0f} thousand small"
        f" operations/s, photos {here.megapixels:.0f} megapixels/s, disk"
        f" {here.write / 1e6:,.0f} MB/s to write and {here.read / 1e6:,.0f} MB/s to read; with"
        f" {threads} thread{'s' * (threads > 1)} a job, {at_once} at once, as Snakemake runs them.",
    ]
