"""One command a stage, and `reclip pretrain`, which makes mini-clip."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import click

from reclip.cli import torchrun
from reclip.cli.options import plan_option
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import invalidate, require_inputs, why_stale, write_plan_file
from reclip.pipeline.stages import STAGES, Stage

TRAINED = ("rectify", "distill", "probe")
"""Stages that several processes can share."""


def run_stage(plan: Plan, stage: str, id: str | None, force: bool, gpus: str | None = None) -> None:
    """Run one job, unless its output is fresh.

    id: of the dataset, run or table; None for a stage of the experiment.
    gpus: of a training, a number or "all"; None: `compute.gpus` decides.
    Raises ReclipError: the job does not exist, an input is stale, or the stage fails.
    """
    job = plan.job(stage, id or plan.params.experiment)
    reason = why_stale(job)
    if reason is None and not force:
        click.echo(f"{job.name}: up to date")
        return
    require_inputs(job, plan.file)
    if stage in TRAINED and not torchrun.inside():
        processes = torchrun.number(gpus, job.settings["compute"])
        if processes > 1:
            same = [stage, f"--{STAGES[stage].kind}", job.id, "--params", str(plan.file)]
            torchrun.launch(job.name, same + ["--force"] * force, processes)
            return
    with torchrun.member(plan.params.compute):
        _run(plan, job, f"{job.name}: {reason or 'run again by --force'}")


def _run(plan: Plan, job: Job, why: str) -> None:
    first = torchrun.is_first()  # of several processes, only one writes
    if first:
        job.folder.mkdir(parents=True, exist_ok=True)
        invalidate(job)
        write_plan_file(job)
    module = importlib.import_module(job.module)
    click.echo(why)
    began = time.monotonic()
    module.main(job)
    if not first:
        return
    computed = time.monotonic()
    from reclip.tracking import sync

    sync.mirror(plan, job)
    click.echo(
        f"{job.name}: done in {computed - began:.1f} s "
        f"(+ {time.monotonic() - computed:.1f} s tracking)"
    )


def _gpus(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None or value == "all" or (value.isascii() and value.isdigit() and int(value)):
        return value
    raise click.BadParameter("give a number from 1, or all")


def stage_command(stage: Stage) -> click.Command:
    """Return the command of a stage."""

    @click.command(stage.name, help=stage.help)
    @click.option("--force", is_flag=True, help="Run even if the output is up to date.")
    @plan_option
    def command(plan: Plan, force: bool, id: str | None = None, gpus: str | None = None) -> None:
        run_stage(plan, stage.name, id, force, gpus)

    if stage.name in TRAINED:
        count = "GPUs of this training, a process each; with device cpu, processes."
        command.params.insert(
            0, click.Option(["--gpus"], metavar="N|all", callback=_gpus, help=count)
        )
    if stage.kind != "experiment":
        of = f"The {stage.kind}'s name."
        command.params.insert(0, click.Option([f"--{stage.kind}", "id"], required=True, help=of))
    return command


@click.command()
@click.option("--output", default="results/mini/mini-clip", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", type=int, help="Fewer steps, for a trial.")
@click.option("--threads", default=1, show_default=True)
def pretrain(output: str, seed: int, steps: int | None, threads: int) -> None:
    """Train mini-clip on captioned scenes with planted biases."""
    from reclip.clip import pretrain

    given = {} if steps is None else {"steps": steps}
    settings = pretrain.PretrainSettings(**given)
    pretrain.pretrain(settings, Path(output), seed=seed, threads=threads)
