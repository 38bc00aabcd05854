"""`reclip sync-mlflow`, `compare`: runs beside each other."""

from __future__ import annotations

import os

import click

from reclip.cli.options import params_option
from reclip.common.errors import ReclipError


@click.command("sync-mlflow")
@params_option
def sync_mlflow(params_path: str) -> None:
    """Log to MLflow every fresh result that is not there yet."""
    from reclip.pipeline.plan import Plan
    from reclip.tracking import sync

    try:
        click.echo(sync.sync(Plan.load(params_path)))
    except ReclipError as error:
        if not os.environ.get(sync.LATER):
            raise
        click.echo(f"tracking: {error}", err=True)  # the end of a Snakemake run, which is whole


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@params_option
@click.option(
    "--top", type=click.IntRange(min=0), default=10, show_default=True, metavar="N",
    help="How many classes: those whose IoU differs most.",
)  # fmt: skip
def compare(runs: tuple[str, ...], params_path: str, top: int) -> None:
    """Compare runs by their results: settings that differ, mIoU, the classes that differ most."""
    from reclip.pipeline.plan import Plan
    from reclip.tracking.compare import compare as run

    click.echo(run(Plan.load(params_path), runs, top, params_path))
