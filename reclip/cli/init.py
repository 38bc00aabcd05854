"""`reclip init`: write a settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reclip.common.errors import ReclipError
from reclip.pipeline.job import config_option

FOLDER = "folder"
OWN = ("images", "classes", "val_images", "val_labels", "clip", "experiment", "hours")
# Options of the folder that --set may give as well: other choices depend on them.
SET_BEFORE = {"experiment": "experiment", "clip": "clip.model", "checkpoint": "clip.checkpoint"}
OFFICIAL = ("downloads", "archives", "folders")  # of datasets in their official layout


@click.command()
@click.argument(
    "preset", type=click.Choice(["mini", "paper", "strong", "mini-strong", "voc", FOLDER])
)
@click.option("--images", metavar="DIR", help="folder: your photos, with subfolders.")
@click.option(
    "--classes", metavar="NAMES",
    help="folder: 'cat, dog, person=person|man|woman', or a text file with one class per line.",
)  # fmt: skip
@click.option("--val-images", metavar="DIR", help="folder: photos with labels, for metrics.")
@click.option("--val-labels", metavar="DIR", help="folder: their PNGs of class ids, from 0.")
@click.option("--clip", metavar="MODEL", help="folder: mini-clip, or OpenAI's, e.g. ViT-B-16.")
@click.option("--experiment", metavar="NAME", help="folder: results/NAME.  [default: the folder's]")
@click.option(
    "--hours", type=click.FloatRange(min=0, min_open=True),
    help="folder: time for all jobs without a GPU.  [default: 50 minutes for 100 photos, 25 where "
    "bfloat16 is fast]",
)  # fmt: skip
@click.option(
    "--calibrate/--no-calibrate", default=True,
    help="folder: measure this machine for some seconds, or assume a slow one.",
)  # fmt: skip
@click.option("--downloads", metavar="DIR", help="Folder of official archives, old and downloaded.")
@click.option(
    "--archive", "archives", multiple=True, metavar="[DATASET=]FILE",
    help="A dataset's archive in its official layout.",
)  # fmt: skip
@click.option(
    "--folder", "folders", multiple=True, metavar="[DATASET=]DIR",
    help="A dataset's unpacked folder in its official layout.",
)  # fmt: skip
@click.option("--checkpoint", metavar="FILE", help="paper, strong, folder: file of CLIP weights.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Use N photos of each split, the first ones."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE",
    help="Change any setting, e.g. --set rectify.lr=0.02 (null removes it).",
)  # fmt: skip
@click.option("--output", default="params.yaml", show_default=True, help="Settings file to write.")
@click.option("--force", is_flag=True, help="Overwrite an existing settings file.")
@click.pass_context
def init(
    context: click.Context, preset: str, output: str, force: bool, calibrate: bool, **given: Any
) -> None:
    """Write a settings file for an experiment.

    mini: the committed default. paper: Tables 1 to 7 on the paper's data with real CLIP. strong:
    ReCLIP++, and what rectification adds to later extractors; mini-strong: the same on mini's
    drawn data. voc: VOC's photos with mini-clip, a trial of the pipeline. folder: a segmentation
    model for your photos and class names, without labels; it chooses the settings and says why.
    """
    if Path(output).exists() and not force:
        raise ReclipError(f"'{output}' already exists: choose another --output or add --force")
    others = OFFICIAL if preset == FOLDER else OWN
    for option in context.command.params:
        if option.name in others and given[option.name]:
            raise ReclipError(
                f"Preset '{preset}' does not accept {option.opts[0]}: remove this option"
            )
    from reclip.presets import preset_text, write_settings
    from reclip.presets.options import WITH_REAL_CLIP, assigned, changes, fitted_to_weights

    given = {name: value for name, value in given.items() if name not in others}
    said: list[str] = []
    if preset == FOLDER:
        for name in ("images", "classes"):
            if not given[name]:
                raise ReclipError(
                    f"--{name} is missing: reclip init folder --images DIR --classes "
                    f'"cat, dog, grass"'
                )
        changed = assigned(given.pop("assignments"))
        device = str(changed.get("compute.device", "auto"))
        for name, key in SET_BEFORE.items():
            given[name] = given[name] or changed.get(key)
        from reclip.cost.forecast import Forecast
        from reclip.presets.folder import folder_preset

        forecast = Forecast(calibrate)
        text, said, sizes = folder_preset(
            **given,
            output=Path(output),
            device=device,
            activation=changed.get("clip.activation"),
            forecast=forecast.hours,
        )
    else:
        text, changed = preset_text(preset), changes(preset, **given)
        if preset in WITH_REAL_CLIP:
            changed, said = fitted_to_weights(preset, changed)
    path = write_settings(text, Path(output), changed, preset)
    for line in said:
        click.echo(line)
    if preset == FOLDER:
        hours = forecast.hours(path.read_text(encoding="utf-8"), sizes)
        click.echo(f"time: {in_words(hours)} for all jobs, {forecast.basis}")
    click.echo(f"wrote {path}; now run: snakemake{config_option(output)}")
    if preset == FOLDER:
        from reclip.config.load import load_params

        results = f"results/{load_params(path).experiment}"
        click.echo(
            f"then read {results}/summary/summary.md, and use the model: reclip predict PHOTOS "
            f"--model {results}/runs/distilled/model"
        )


def in_words(hours: float) -> str:
    """Return a time in minutes, or from two hours on in hours; two digits at most."""
    if hours < 2:
        minutes = max(1, round(60 * hours))
        return f"about {minutes} minute{'s' * (minutes > 1)}"
    return f"about {hours:.0f} hours" if hours >= 10 else f"about {hours:.1f} hours"
