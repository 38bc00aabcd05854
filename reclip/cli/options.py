"""Options that several commands share."""

from __future__ import annotations

import click

from reclip.config import PARAMS
from reclip.pipeline.plan import Plan


def _params_option(name: str, **how: object):
    return click.option(
        "--params", name, default=PARAMS, envvar="RECLIP_PARAMS", show_default=True,
        help="Settings file.", **how,
    )  # fmt: skip


params_option = _params_option("params_path")
"""Gives the path of the settings file."""

plan_option = _params_option("plan", callback=lambda context, option, path: Plan.load(path))
"""Gives the plan of the settings file."""
