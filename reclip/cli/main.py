"""The command line. Commands import heavy libraries when they run, so `reclip --help` is fast."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import click

from reclip.cli import annotations, compat, figure, init, models, plan, results, stages
from reclip.common.errors import ReclipError
from reclip.common.files import accessible
from reclip.common.passwords import without_password
from reclip.pipeline.stages import STAGES


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="reclip", prog_name="reclip")
def cli() -> None:
    """Rectify the bias of CLIP for unsupervised semantic segmentation.

    Each stage of the pipeline is a command. `snakemake` runs all stages in order.
    """


for _module in (annotations, compat, init, models, plan, results, stages):
    for _command in vars(_module).values():
        if isinstance(_command, click.Command):
            cli.add_command(_command)
for _command in (figure.figure, *map(stages.stage_command, STAGES.values())):
    cli.add_command(_command)


def main() -> None:
    """Run the command line. Print a ReclipError as one sentence, its traceback goes to a log."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    try:
        with accessible():
            cli(prog_name="reclip", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:  # Ctrl-C
        click.echo("stopped; run the same command again to resume", err=True)
        sys.exit(130)
    except ReclipError as error:
        said, path = f"error: {error}", Path("logs/reclip-errors.log")
        with suppress(OSError):  # the folder may be read-only
            path.parent.mkdir(exist_ok=True)
            with open(path, "a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(without_password(f"{' '.join(sys.argv)}\n{traceback.format_exc()}\n"))
            said += f" (traceback in {path})"
        click.echo(without_password(said), err=True)
        sys.exit(1)
