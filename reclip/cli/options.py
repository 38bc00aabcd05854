"""Options that several commands share."""

import click

from reclip.config import PARAMS

params_option = click.option(
    "--params",
    "params_path",
    default=PARAMS,
    envvar="RECLIP_PARAMS",
    show_default=True,
    help="Settings file.",
)
