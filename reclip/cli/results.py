"""`reclip status`, `dvc`, `record`, `restore` and `readme`: commands about all results."""

from __future__ import annotations

from pathlib import Path

import click

from reclip.cli.options import params_option


@click.command()
@params_option
@click.option("--verify", is_flag=True, help="Also compare each output's checksum.")
def status(params_path: str, verify: bool) -> None:
    """Print for every output whether it is fresh, or why it is stale.

    "aside": outputs that plain `snakemake` does not build. Ask for them by name.
    """
    from reclip.pipeline.plan import Plan
    from reclip.pipeline.staleness import report

    for line in report(Plan.load(params_path), verify=verify):
        click.echo(line)


@click.command()
@params_option
@click.option("--check", is_flag=True, help="Include the jobs of the check.")
@click.option("--plan", "only_plan", is_flag=True, help="Run the first stage of dvc.yaml instead.")
def dvc(params_path: str, check: bool, only_plan: bool) -> None:
    """Write dvc.yaml from the settings, with the same jobs as in Snakemake."""
    from reclip.pipeline.plan import Plan

    plan = Plan.load(params_path)
    if only_plan:
        from reclip.versioning.record import before_repro

        before_repro(plan, params_path)
        return
    from reclip.common.files import write_text
    from reclip.versioning.dvc_yaml import pipeline_text

    write_text("dvc.yaml", pipeline_text(plan, params_path, check=check))
    click.echo("Wrote dvc.yaml. Next: dvc repro")


@click.command()
@params_option
@click.option("--partial", is_flag=True, help="Skip stale results instead of failing.")
def record(params_path: str, partial: bool) -> None:
    """Record the results in DVC if none is stale; then `dvc push` uploads them."""
    from reclip.pipeline.plan import Plan
    from reclip.versioning.record import record as run

    click.echo(run(Plan.load(params_path), params_path, partial=partial))


@click.command()
@params_option
@click.option("--remote", metavar="NAME", help="DVC remote, instead of the default one.")
def restore(params_path: str, remote: str | None) -> None:
    """Restore the recorded results, e.g. in a fresh clone, and verify every checksum."""
    from reclip.pipeline.plan import Plan
    from reclip.versioning.record import restore as run

    for sentence in run(Plan.load(params_path), params_path, remote=remote):
        click.echo(sentence, err=True)
    click.echo("Every result is complete and has its recorded checksum.")


@click.command()
@params_option
def readme(params_path: str) -> None:
    """Write the tables of the experiment into README.md, between its markers."""
    from reclip.cli.readme import with_tables
    from reclip.common.files import write_text
    from reclip.pipeline.plan import Plan

    path = Path("README.md")
    write_text(path, with_tables(path.read_text(encoding="utf-8"), Plan.load(params_path)))
    click.echo("Wrote the tables into README.md.")
