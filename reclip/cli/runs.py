"""`reclip sync-mlflow` and `compare`: log runs to MLflow and compare them."""

from __future__ import annotations

import os

import click

from reclip.cli.options import params_option
from reclip.common.errors import ReclipError


@click.command("sync-mlflow")
@params_option
def sync_mlflow(params_path: str) -> None:
    """Log every fresh result that MLflow lacks."""
    from reclip.pipeline.plan import Plan
    from reclip.tracking import sync

    try:
        click.echo(sync.sync(Plan.load(params_path)))
    except ReclipError as error:
        if not os.environ.get(sync.LATER):
            raise
        # The results of the Snakemake run that ends here are complete, so the run must not fail.
        click.echo(f"tracking: {error}", err=True)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@params_option
@click.option(
    "--top", type=click.IntRange(min=0), default=10, show_default=True, metavar="N",
    help="Number of classes: those with the largest difference in IoU.",
)  # fmt: skip
def compare(runs: tuple[str, ...], params_path: str, top: int) -> None:
    """Compare the results of runs: settings that differ, mIoU, and classes that differ most."""
    from reclip.pipeline.plan import Plan
    from reclip.tracking.compare import compare as run

    click.echo(run(Plan.load(params_path), runs, top, params_path))
