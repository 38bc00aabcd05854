"""`reclip status`, `dvc`, `record`, `restore`, `readme`: results as a whole."""

from __future__ import annotations

from pathlib import Path

import click

from reclip.cli.options import params_option


@click.command()
@params_option
@click.option("--verify", is_flag=True, help="Also compare each output's checksum.")
def status(params_path: str, verify: bool) -> None:
    """Say for every output whether it is fresh, or stale and why.

    "aside" are those that a plain `snakemake` leaves out: the check or a person asks for them.
    """
    from reclip.pipeline.plan import Plan
    from reclip.pipeline.staleness import report

    for line in report(Plan.load(params_path), verify=verify):
        click.echo(line)


@click.command()
@params_option
@click.option("--check", is_flag=True, help="With the jobs that only the check asks for.")
@click.option("--plan", "only_plan", is_flag=True, help="What dvc.yaml's first stage does.")
def dvc(params_path: str, check: bool, only_plan: bool) -> None:
    """Write dvc.yaml from the settings: the same jobs as Snakemake's."""
    from reclip.pipeline.plan import Plan

    plan = Plan.load(params_path)
    if only_plan:
        from reclip.versioning.unrecorded import before_repro

        before_repro(plan, params_path)
        return
    from reclip.common.files import write_text
    from reclip.versioning.dvc_yaml import pipeline_text

    write_text("dvc.yaml", pipeline_text(plan, params_path, check=check))
    click.echo("wrote dvc.yaml; now run: dvc repro")


@click.command()
@params_option
@click.option("--partial", is_flag=True, help="Leave out what is stale, instead of refusing.")
def record(params_path: str, partial: bool) -> None:
    """Have DVC keep the results, once none is stale; `dvc push` then sends them."""
    from reclip.pipeline.plan import Plan
    from reclip.versioning.record import record as run

    click.echo(run(Plan.load(params_path), params_path, partial=partial))


@click.command()
@params_option
@click.option("--remote", metavar="NAME", help="A DVC remote that is not the default one.")
def restore(params_path: str, remote: str | None) -> None:
    """Bring the recorded results back, as in a fresh clone, and check every file's checksum."""
    from reclip.pipeline.plan import Plan
    from reclip.versioning.record import restore as run

    for sentence in run(Plan.load(params_path), params_path, remote=remote):
        click.echo(sentence, err=True)
    click.echo("every result is there, and as it was made")


@click.command()
@params_option
def readme(params_path: str) -> None:
    """Put the tables of the experiment into README.md, between its markers."""
    from reclip.cli.readme import with_tables
    from reclip.common.files import write_text
    from reclip.pipeline.plan import Plan

    path = Path("README.md")
    write_text(path, with_tables(path.read_text(encoding="utf-8"), Plan.load(params_path)))
    click.echo("wrote the tables into README.md")
