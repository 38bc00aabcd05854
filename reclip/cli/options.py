"""The commands of `reclip`. None imports anything heavy before it runs."""

import click

params_option = click.option(
    "--params",
    "params_path",
    default="params.yaml",
    envvar="RECLIP_PARAMS",
    show_default=True,
    help="Settings file.",
)
