"""`reclip figure`: Figures 1 and 3 for any dataset and runs, from finished runs."""

from __future__ import annotations

import click

from reclip.cli.options import params_option

runs_argument = click.argument("runs", nargs=-1, metavar="[RUN...]")
dataset_option = click.option("--dataset", metavar="NAME", help="Instead of runs: the report's.")
output_option = click.option(
    "--output", "-o", required=True, metavar="FILE", help=".png, .pdf or .svg; FILE.txt says more."
)
classes_option = click.option("--classes", metavar="NAMES", help="E.g. 'cat, dog', or all.")


@click.group()
def figure() -> None:
    """Draw one figure of finished runs, with its caption beside it; nothing is trained.

    Where no RUN is named, those that the report shows for the dataset are taken.
    """


@figure.command(short_help="Figure 1 (a): mIoU by distance from the centre.")
@runs_argument
@dataset_option
@output_option
@params_option
def distance(runs, dataset, output, params_path) -> None:
    """Fig. 1 (a): mIoU by an object's distance from the image's centre."""
    from reclip.evaluate.figures.single import distance as run
    from reclip.pipeline.plan import Plan

    click.echo(run(Plan.load(params_path), dataset, runs, output, params_path))


@figure.command(short_help="Figure 1 (b): which classes are confused.")
@runs_argument
@dataset_option
@classes_option
@click.option(
    "--top", type=click.IntRange(min=2), default=6, show_default=True, metavar="N",
    help="Without --classes: N classes of the pairs that Query confuses most.",
)  # fmt: skip
@output_option
@params_option
def confusion(runs, dataset, classes, top, output, params_path) -> None:
    """Fig. 1 (b): where the pixels of some classes go."""
    from reclip.evaluate.figures.single import confusion as run
    from reclip.pipeline.plan import Plan

    click.echo(run(Plan.load(params_path), dataset, runs, classes, top, output, params_path))


@figure.command(short_help="Figure 3: logits of one photo; needs no labels.")
@runs_argument
@dataset_option
@click.option("--image", metavar="ID", help="A photo.  [default: one that changes most]")
@classes_option
@click.option(
    "--scale", type=click.Choice(["common", "own"]), default="common", show_default=True,
    help="One colour scale for all logits, or each column's own.",
)  # fmt: skip
@output_option
@params_option
def heatmaps(runs, dataset, image, classes, scale, output, params_path) -> None:
    """Fig. 3: Query, Reference, positional and rectified logits of one photo. Needs no labels."""
    from reclip.evaluate.figures.photo import heatmaps as run
    from reclip.pipeline.plan import Plan

    plan = Plan.load(params_path)
    click.echo(run(plan, dataset, runs, image, classes, scale, output, params_path))
