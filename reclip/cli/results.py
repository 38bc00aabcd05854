"""Commands on all results: `reclip status`, `dvc`, `record`, `restore`, `verify` and others."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from reclip.cli.options import plan_option
from reclip.common.errors import ReclipError
from reclip.common.files import write_text
from reclip.pipeline import staleness
from reclip.pipeline.plan import Plan


@click.command()
@plan_option
@click.option("--verify", is_flag=True, help="Also compare each output's checksum.")
def status(plan: Plan, verify: bool) -> None:
    """Print for every output whether it is fresh, or why it is stale.

    "aside": outputs that plain `snakemake` does not build. Ask for them by name.
    """
    for line in staleness.report(plan, verify=verify):
        click.echo(line)


@click.command()
@plan_option
@click.option("--check", is_flag=True, help="Include the check and its seeds.")
@click.option("--plan", "only_plan", is_flag=True, help="Run the first stage of dvc.yaml instead.")
def dvc(plan: Plan, check: bool, only_plan: bool) -> None:
    """Write dvc.yaml from the settings, with the same jobs as in Snakemake."""
    from reclip.versioning import dvc_yaml, record

    if only_plan:
        record.before_repro(plan)
        return
    write_text("dvc.yaml", dvc_yaml.pipeline_text(plan, check=check))
    click.echo("Wrote dvc.yaml. Next: dvc repro")


@click.command()
@plan_option
@click.option("--partial", is_flag=True, help="Skip stale results instead of failing.")
def record(plan: Plan, partial: bool) -> None:
    """Record the results in DVC if none is stale; then `dvc push` uploads them."""
    from reclip.versioning import record

    click.echo(record.record(plan, partial=partial))


@click.command()
@plan_option
@click.option("--remote", metavar="NAME", help="DVC remote, instead of the default one.")
def restore(plan: Plan, remote: str | None) -> None:
    """Restore the recorded results, e.g. in a fresh clone, and verify every checksum."""
    from reclip.versioning import record

    for sentence in record.restore(plan, remote=remote):
        click.echo(sentence, err=True)
    click.echo("Every result is complete and has its recorded checksum.")


@click.command()
@plan_option
@click.option("--short", is_flag=True, help="Leave out the lists of results and runs.")
@click.option("--no-copy", is_flag=True, help="Write nothing, also not into DVC's cache.")
def verify(plan: Plan, short: bool, no_copy: bool) -> None:
    """Compare the results here with those that git's committed dvc.lock names.

    Prints which have other bytes, where these begin, and by how much the metrics differ. Exits
    with status 1 if a result differs. Those that do not are copied into DVC's cache, so that
    `dvc status` takes them for recorded.
    """
    from reclip.versioning import verify

    verdict = verify.verify(plan, copy=not no_copy)
    for line in verify.report(verdict, short=short):
        click.echo(line)
    if not verdict.same:
        sys.exit(1)


@click.command()
@plan_option
def sync_mlflow(plan: Plan) -> None:
    """Log every fresh result that MLflow lacks."""
    from reclip.tracking import sync

    try:
        click.echo(sync.sync(plan))
    except ReclipError as error:
        if not os.environ.get(sync.LATER):
            raise
        # The results of the Snakemake run that ends here are complete, so the run must not fail.
        click.echo(f"tracking: {error}", err=True)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@plan_option
@click.option(
    "--top", type=click.IntRange(min=0), default=10, show_default=True, metavar="N",
    help="Number of classes: those with the largest difference in IoU.",
)  # fmt: skip
def compare(runs: tuple[str, ...], plan: Plan, top: int) -> None:
    """Compare the results of runs: settings that differ, mIoU, and classes that differ most."""
    from reclip.tracking import compare

    click.echo(compare.compare(plan, runs, top))


@click.command()
@plan_option
def readme(plan: Plan) -> None:
    """Write the tables of the experiment into README.md, between its markers."""
    from reclip.cli.readme import with_tables

    path = Path("README.md")
    write_text(path, with_tables(path.read_text(encoding="utf-8"), plan))
    click.echo("Wrote the tables into README.md.")
