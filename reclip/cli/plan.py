"""`reclip plan`, `compat`: settings files, and what they come to."""

from __future__ import annotations

import click

from reclip.cli.options import params_option
from reclip.cost.machines import DEFAULT_GPU, GPUS
from reclip.pipeline.receipts import write_plan_file


@click.command()
@params_option
@click.option("--cost", is_flag=True, help="Say instead what the jobs cost: FLOP, disk, hours.")
@click.option(
    "--gpu",
    type=click.Choice(list(GPUS)),
    help=f"With --cost: the GPU whose hours are estimated.  [default: {DEFAULT_GPU}]",
)
@click.option(
    "--calibrate/--no-calibrate",
    default=None,
    help="With --cost: time this machine for some seconds, or not.  [default: calibrate]",
)
@click.option("--markdown", is_flag=True, help="With --cost: Markdown, nothing of this machine.")
def plan(
    params_path: str, cost: bool, gpu: str | None, calibrate: bool | None, markdown: bool
) -> None:
    """Resolve the settings of every job into results/<experiment>/plan/, or say what they cost."""
    from reclip.pipeline.plan import Plan

    if markdown and calibrate:
        raise click.UsageError("--markdown says nothing of this machine: leave out --calibrate")
    if cost:
        from reclip.cost.report import cost_markdown, cost_text

        planned, gpu = Plan.load(params_path), gpu or DEFAULT_GPU
        if markdown:
            click.echo(cost_markdown(planned, gpu))
        else:
            click.echo(cost_text(planned, gpu, measure=calibrate is not False))
        return
    if markdown or gpu or calibrate is not None:
        raise click.UsageError("--gpu, --calibrate and --markdown need --cost")
    jobs = Plan.load(params_path).jobs
    for job in jobs:
        write_plan_file(job)
    click.echo(f"{len(jobs)} jobs")


@click.command()
@params_option
def compat(params_path: str) -> None:
    """List what paper and official code contradict each other on, and which is taken."""
    from reclip.config.compat import DIFFERENCES
    from reclip.config.resolve import Experiment

    experiment = Experiment.load(params_path)
    click.echo(f"compat: {experiment.params.compat}; where settings say something else, they win")
    for option in DIFFERENCES:
        default, taken = experiment.choices(option.section, option.key)
        click.echo(
            f"{option.name:<34} default {default!s:<10} official {option.official!s:<12} "
            f"here {', '.join(map(str, taken)):<12} {option.what}"
        )
