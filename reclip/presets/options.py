"""The options of `reclip init` as changes of settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.common.text import nearest
from reclip.config.load import validate
from reclip.config.models import Params
from reclip.presets import preset_text


def changes(
    preset: str,
    *,
    downloads: str | None = None,
    archives: Sequence[str] = (),
    folders: Sequence[str] = (),
    checkpoint: str | None = None,
    limit: int | None = None,
    assignments: Sequence[str] = (),
) -> dict[str, Any]:
    """Dotted key to value for :func:`reclip.presets.write_preset`.

    Raises ReclipError: a file or folder that is not there, or an option that the preset has not.
    """
    params = validate(Params, yaml.safe_load(preset_text(preset)))
    photos = [name for name, d in params.datasets.items() if d.source.kind != "world"]
    found: dict[str, Any] = {}
    if not photos and (downloads or archives or folders or checkpoint or limit):
        raise ReclipError(
            f"preset {preset} draws its own data: leave out the options for photos and weights"
        )
    if downloads:
        found["downloads"] = downloads
    for given in archives:
        name, path = _of_dataset(given, photos, "--archive")
        if "://" not in path and not path.startswith("file:"):
            if not Path(path).is_file():
                raise ReclipError(f"no archive '{path}': give the path of a tar or zip file")
            found[f"datasets.{name}.source.sha256"] = file_sha256(path)
        found[f"datasets.{name}.source.archive"] = path
    for given in folders:
        name, path = _of_dataset(given, photos, "--folder")
        if not Path(path).is_dir():
            raise ReclipError(f"no folder '{path}': give the path of the unpacked data")
        found[f"datasets.{name}.source.folder"] = path
    if limit:
        found |= {f"datasets.{name}.source.limit": limit for name in photos}
    if checkpoint:
        if preset != "paper":
            raise ReclipError(f"preset {preset} has weights of its own: use the preset paper")
        if not Path(checkpoint).is_file():
            raise ReclipError(f"no checkpoint '{checkpoint}': give the path of a weights file")
        found |= {"clip.checkpoint": checkpoint, "clip.pretrained": None}
    return found | assigned(assignments)


def assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """Dotted key to value of each KEY=VALUE. Raises ReclipError for what is not of this form."""
    found: dict[str, Any] = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key:
            raise ReclipError(f"--set '{assignment}' is not KEY=VALUE: e.g. rectify.lr=0.02")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ReclipError(f"--set '{assignment}': the value is not YAML: quote it") from error
    return found


def _of_dataset(given: str, photos: list[str], option: str) -> tuple[str, str]:
    """The dataset and the path of `[DATASET=]PATH`."""
    name, sign, path = given.partition("=")
    if sign and name in photos:
        return name, path
    if len(photos) == 1:
        return photos[0], given
    raise ReclipError(
        f"{option} '{given}' names no dataset: write DATASET=PATH{nearest(name, photos)}"
    )
