"""`reclip figure`: Figures 1 and 3 for any dataset and runs, from finished runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from reclip.cli.options import params_option

classes_option = click.option("--classes", metavar="NAMES", help="E.g. 'cat, dog', or all.")


def common_options(command: Callable) -> Callable:
    """Add the options that every figure has."""
    for option in (
        params_option,
        click.option(
            "--output", "-o", required=True, metavar="FILE",
            help=".png, .pdf or .svg; a .txt file beside it has the caption.",
        ),
        click.option("--dataset", metavar="NAME", help="Draw the report's runs of this dataset."),
        click.argument("runs", nargs=-1, metavar="[RUN...]"),
    ):  # fmt: skip
        command = option(command)
    return command


def _draw(params_path: str, **options: Any) -> None:
    """Draw the figure of the command's name."""
    from reclip.evaluate.figures import single
    from reclip.pipeline.plan import Plan

    draw = getattr(single, click.get_current_context().command.name)
    click.echo(draw(Plan.load(params_path), **options, params=params_path))


@click.group()
def figure() -> None:
    """Draw one figure of finished runs, with its caption beside it; nothing is trained.

    Without RUN, the figure shows the dataset's runs that the report shows.
    """


@figure.command(short_help="Figure 1 (a): mIoU by distance from the centre.")
@common_options
def distance(**options) -> None:
    """Fig. 1 (a): mIoU by an object's distance from the image's centre."""
    _draw(**options)


@figure.command(short_help="Figure 1 (b): which classes are confused.")
@common_options
@classes_option
@click.option(
    "--top", type=click.IntRange(min=2), default=6, show_default=True, metavar="N",
    help="Without --classes: N classes of the pairs that Query confuses most.",
)  # fmt: skip
def confusion(**options) -> None:
    """Fig. 1 (b): where the pixels of some classes go."""
    _draw(**options)


@figure.command(short_help="Figure 3: logits of one photo; needs no labels.")
@common_options
@click.option("--image", metavar="ID", help="A photo.  [default: one that changes most]")
@classes_option
@click.option(
    "--scale", type=click.Choice(["common", "own"]), default="common", show_default=True,
    help="One colour scale for all logits, or one for each column.",
)  # fmt: skip
def heatmaps(**options) -> None:
    """Fig. 3: Query, Reference, positional and rectified logits of one photo. Needs no labels."""
    _draw(**options)
