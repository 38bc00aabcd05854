"""`reclip plan`: what a settings file asks for."""

from __future__ import annotations

import click

from reclip.cli.options import plan_option
from reclip.cost.machines import CPU, DEFAULT_GPU, GPUS
from reclip.pipeline.plan import Plan
from reclip.pipeline.staleness import write_plan_files


@click.command()
@plan_option
@click.option("--cost", is_flag=True, help="Print the cost of the jobs: FLOP, disk, hours.")
@click.option(
    "--resources",
    is_flag=True,
    help="Print what each job asks for: GPUs, memory, time, threads.",
)
@click.option(
    "--machine",
    type=click.Choice([CPU, *GPUS]),
    help="With --resources: the machine that jobs run on.  [default: this one]",
)
@click.option(
    "--gpu",
    type=click.Choice(list(GPUS)),
    help=f"With --cost: the GPU to estimate hours for.  [default: {DEFAULT_GPU}]",
)
@click.option(
    "--calibrate/--no-calibrate",
    default=None,
    help="With --cost: measure this machine for some seconds, or not.  [default: calibrate]",
)
@click.option(
    "--markdown", is_flag=True, help="With --cost: print Markdown, without hours of this machine."
)
def plan(
    plan: Plan,
    cost: bool,
    resources: bool,
    machine: str | None,
    gpu: str | None,
    calibrate: bool | None,
    markdown: bool,
) -> None:
    """Write the plan files, or print the cost or the resources.

    A plan file holds the resolved settings of a job. They lie in results/<experiment>/plan/.
    """
    if (resources and cost) or (machine and not resources):
        raise click.UsageError("--resources goes without --cost, and --machine needs it")
    if resources:
        from reclip.cost.resources_table import resources_text

        click.echo(resources_text(plan, machine))
        return
    if markdown and calibrate:
        raise click.UsageError("--markdown prints nothing about this machine: remove --calibrate")
    if cost:
        from reclip.cost.report import cost_markdown, cost_text

        gpu = gpu or DEFAULT_GPU
        measure = calibrate is not False
        click.echo(cost_markdown(plan, gpu) if markdown else cost_text(plan, gpu, measure=measure))
        return
    if markdown or gpu or calibrate is not None:
        raise click.UsageError("--gpu, --calibrate and --markdown need --cost")
    write_plan_files(plan)
    click.echo(f"{len(plan.jobs)} jobs")
