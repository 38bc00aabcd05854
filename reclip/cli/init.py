"""`reclip init`: write a settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reclip.common.errors import ReclipError

FOLDER = "folder"
OWN = ("images", "classes", "val_images", "val_labels", "clip", "experiment")
OFFICIAL = ("downloads", "archives", "folders")  # of datasets in their official layout


@click.command()
@click.argument("preset", type=click.Choice(["mini", "paper", "voc", FOLDER]))
@click.option("--images", metavar="DIR", help="folder: your photos, however deep they lie.")
@click.option(
    "--classes", metavar="NAMES",
    help="folder: 'cat, dog, person=person|man|woman', or a text file with a class a line.",
)  # fmt: skip
@click.option("--val-images", metavar="DIR", help="folder: photos with labels, for metrics.")
@click.option("--val-labels", metavar="DIR", help="folder: their PNGs of class ids, 0 the first.")
@click.option("--clip", metavar="MODEL", help="folder: mini-clip, or OpenAI's, e.g. ViT-B-16.")
@click.option("--experiment", metavar="NAME", help="folder: results/NAME.  [default: the folder's]")
@click.option("--downloads", metavar="DIR", help="Where official archives are, or are put.")
@click.option(
    "--archive", "archives", multiple=True, metavar="[DATASET=]FILE",
    help="A dataset's archive in its official layout.",
)  # fmt: skip
@click.option(
    "--folder", "folders", multiple=True, metavar="[DATASET=]DIR",
    help="A dataset's unpacked folder in its official layout.",
)  # fmt: skip
@click.option("--checkpoint", metavar="FILE", help="paper, folder: file of CLIP weights.")
@click.option("--limit", type=click.IntRange(min=1), help="The first N photos of each split only.")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE",
    help="Any setting, e.g. --set rectify.lr=0.02 (null removes it).",
)  # fmt: skip
@click.option("--output", default="params.yaml", show_default=True, help="Settings file to write.")
@click.option("--force", is_flag=True, help="Replace a settings file that is there.")
def init(preset: str, output: str, force: bool, **given: Any) -> None:
    """Write a settings file for an experiment.

    mini: the embedded default. paper: Tables 1 to 7 on the paper's data with real CLIP. voc: VOC's
    photos with mini-clip, a trial of the path. folder: a segmentation model for your own photos and
    class names, without labels; its settings are chosen for them, and it says why.
    """
    if Path(output).exists() and not force:
        raise ReclipError(f"'{output}' is there already: choose another --output or add --force")
    others = OFFICIAL if preset == FOLDER else OWN
    if wrong := next((name for name in others if given[name]), None):
        option = f"--{wrong.removesuffix('s') if wrong in OFFICIAL[1:] else wrong}".replace(
            "_", "-"
        )
        raise ReclipError(f"{option} is no option of preset {preset}: leave it out")
    write = _write_folder if preset == FOLDER else _write_preset
    path = write(preset, Path(output), given)
    hint = "" if output == "params.yaml" else f" --config params={output}"
    click.echo(f"wrote {path}; now run: snakemake{hint}")
    if preset == FOLDER:
        from reclip.config.load import load_params

        results = f"results/{load_params(path).experiment}"
        click.echo(
            f"then read {results}/summary/summary.md, and use the model: reclip predict PHOTOS "
            f"--model {results}/runs/distilled/model"
        )


def _write_preset(preset: str, output: Path, given: dict[str, Any]) -> Path:
    from reclip.presets import write_preset
    from reclip.presets.options import changes

    known = {name: value for name, value in given.items() if name not in OWN}
    return write_preset(preset, output, changes(preset, **known))


def _write_folder(preset: str, output: Path, given: dict[str, Any]) -> Path:
    from reclip.presets import write_settings
    from reclip.presets.folder import Given, folder_preset
    from reclip.presets.options import assigned

    for name in ("images", "classes"):
        if not given[name]:
            raise ReclipError(
                f'--{name} is missing: reclip init folder --images DIR --classes "cat, dog, grass"'
            )
    changes = assigned(given["assignments"])
    own = {name: given[name] for name in (*OWN, "checkpoint", "limit")}
    text, said = folder_preset(Given(**own), str(changes.get("compute.device", "auto")))
    path = write_settings(text, output, changes)
    for line in said:
        click.echo(line)
    return path
