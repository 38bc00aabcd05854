"""One command a stage, and those that make the packaged weights, mini-clip and mini-backbone."""

from __future__ import annotations

import importlib
import shlex
import time
from contextlib import ExitStack
from pathlib import Path

import click

from reclip.cli import torchrun
from reclip.cli.options import plan_option
from reclip.device.hold import hold
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import invalidate, require_inputs, why_stale, write_plan_file
from reclip.pipeline.stages import STAGES, Stage

SHARED = ("cache-features",)
"""Stages of which several jobs can make a share each, which the stage then completes."""


def run_stage(
    plan: Plan,
    stage: str,
    id: str | None = None,
    seed: int | None = None,
    *,
    force: bool = False,
    share: str | None = None,
    gpus: str | None = None,
) -> None:
    """Run one job, unless its output is fresh.

    Args:
        id: of the dataset, run or table; None for a stage of the experiment.
        seed: of the run; None for a stage without a job a seed, or a run without seeds.
        gpus: of a training, a number or "all"; None: `compute.gpus` decides.
        share: such as "2/8": make only this part of the output, without a receipt.

    Raises ReclipError: the job does not exist, an input is stale, or the stage fails.
    """
    job = plan.job(stage, id or plan.params.experiment, seed)
    reason = why_stale(job)
    if reason is None and not force:
        click.echo(f"{job.name}: up to date")
        return
    require_inputs(job, plan.file)
    compute = job.settings.get("compute")  # None: the stage computes on no device
    with ExitStack() as stack:
        if compute is not None and not torchrun.inside():
            count = torchrun.number(gpus, compute) if STAGES[stage].trains else 1
            stack.enter_context(hold(compute, count))
            if count > 1:
                arguments = [stage, *shlex.split(job.options), "--params", plan.file]
                torchrun.launch(job.name, arguments + ["--force"] * force, count)
                return
        if compute is not None:
            stack.enter_context(torchrun.member(compute))
        if share:
            _run_share(job, share)
        else:
            _run(plan, job, f"{job.name}: {reason or 'run again by --force'}")


def _run_share(job: Job, share: str) -> None:
    """Make a share of a job's output; no receipt is written."""
    module = importlib.import_module(job.module)
    click.echo(f"{job.name}: share {share}")
    module.make_share(job, module.Share.parse(share))


def _run(plan: Plan, job: Job, why: str) -> None:
    """Run a job in this process, which may be one of several that train together."""
    first = torchrun.is_first()  # only one writes
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
    def command(
        plan: Plan,
        force: bool,
        id: str | None = None,
        seed: int | None = None,
        gpus: str | None = None,
        share: str | None = None,
    ) -> None:
        if force and share:
            raise click.UsageError("--share completes what is missing: leave --force away")
        run_stage(plan, stage.name, id, seed, force=force, gpus=gpus, share=share)

    if stage.trains:
        of = "GPUs of this training, a process each; with device cpu, processes."
        command.params.insert(0, click.Option(["--gpus"], metavar="N|all", callback=_gpus, help=of))
    if stage.kind == "seed":
        of = "The run's seed; a run of method query has none."
        command.params.insert(0, click.Option(["--seed"], type=int, help=of))
    if stage.names != "experiment":
        of = f"The {stage.names}'s name."
        command.params.insert(0, click.Option([f"--{stage.names}", "id"], required=True, help=of))
    if stage.name in SHARED:
        of = "Make only a part: 2/8 is the second eighth. Without --share, the rest is made."
        command.params.append(click.Option(["--share"], metavar="I/N", help=of))
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


@click.command()
@click.option("--output", default="results/mini/mini-backbone", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--epochs", type=int, help="Fewer epochs, for a trial.")
@click.option("--threads", default=1, show_default=True)
def pretrain_backbone(output: str, seed: int, epochs: int | None, threads: int) -> None:
    """Train mini-backbone, with which the drawn world's students start, on single objects."""
    from reclip.distill import pretrain

    given = {} if epochs is None else {"epochs": epochs}
    settings = pretrain.PretrainSettings(**given)
    pretrain.pretrain(settings, Path(output), seed=seed, threads=threads)
