"""The options of `reclip init` as changes of settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.common.text import nearest
from reclip.config.compat import values
from reclip.config.load import validate
from reclip.config.models import ClipSettings
from reclip.config.params import Params
from reclip.presets import preset_text
from reclip.weights.identity import MINI_CLIP

WITH_REAL_CLIP: dict[str, dict[str, Any]] = {"paper": values("paper", "clip"), "strong": {}}
"""Presets with published weights, and the values of `clip` that their `compat` gives."""


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
    """Return dotted key to value for `write_settings`.

    Raises ReclipError: a file or folder is missing, or the preset does not accept an option.
    """
    params = validate(Params, yaml.safe_load(preset_text(preset)))
    sources = {name: d.source for name, d in params.datasets.items() if d.source}
    photos = [name for name, source in sources.items() if source.kind != "world"]
    found: dict[str, Any] = {}
    if not photos and (downloads or archives or folders or checkpoint or limit):
        raise ReclipError(
            f"Preset '{preset}' draws its own data: remove the options for photos and weights"
        )
    if downloads:
        found["downloads"] = downloads
    for given in archives:
        source, path = _of_dataset(given, photos, "--archive")
        if "://" not in path and not path.startswith("file:"):
            if not Path(path).is_file():
                raise ReclipError(f"no archive '{path}': give the path of a tar or zip file")
            found[f"{source}.sha256"] = file_sha256(path)
        found[f"{source}.archive"] = path
    for given in folders:
        source, path = _of_dataset(given, photos, "--folder")
        if not Path(path).is_dir():
            raise ReclipError(f"no folder '{path}': give the path of the unpacked data")
        found[f"{source}.folder"] = path
    if limit:
        found |= {f"datasets.{name}.source.limit": limit for name in photos}
    if checkpoint:
        if preset not in WITH_REAL_CLIP:
            raise ReclipError(
                f"Preset '{preset}' has its own weights: use the preset paper or strong"
            )
        require_checkpoint(checkpoint)
        found |= {"clip.checkpoint": checkpoint, "clip.pretrained": None}
    return found | assigned(assignments)


def fitted_to_weights(preset: str, changes: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return changes of a preset that fit its CLIP weights, and a note about them.

    preset: one of WITH_REAL_CLIP.

    A checkpoint gets the model that it fits. A model or tag of `--set` must have weights.

    Raises ReclipError: as `reclip.clip.checkpoint.choose_model` and `said_of_published`.
    """
    checkpoint = changes.get("clip.checkpoint")
    given = {key: changes.get(f"clip.{key}") for key in ("model", "pretrained", "norm")}
    if not checkpoint and not any(given.values()):
        return changes, []
    from reclip.clip.checkpoint import choose_model, said_of_published

    activation, own = changes.get("clip.activation"), WITH_REAL_CLIP[preset]
    if checkpoint:
        usual = own.get("activation", ClipSettings.model_fields["activation"].default)
        chosen = choose_model(checkpoint, given["model"], activation, usual)
        return {**changes, "clip.model": chosen.model}, [f"note: {chosen.said}"]
    own = yaml.safe_load(preset_text(preset))["clip"] | own
    named = {key.removeprefix("clip."): v for key, v in changes.items() if key.startswith("clip.")}
    spec = validate(ClipSettings, own | named, "clip")
    return changes, [f"note: {said_of_published(spec)}"] if spec.model != MINI_CLIP else []


def assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """Return dotted key to value of each KEY=VALUE.

    Raises ReclipError: an assignment has another form, or its value is not YAML.
    """
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


def require_checkpoint(path: str) -> None:
    """Raise ReclipError if there is no file `path`."""
    if not Path(path).expanduser().is_file():
        raise ReclipError(f"no checkpoint '{path}': give the path of a weights file")


def _of_dataset(given: str, photos: list[str], option: str) -> tuple[str, str]:
    """Return the key of a dataset's source, and the path, of `[DATASET=]PATH`."""
    name, sign, path = given.partition("=")
    if sign and name in photos:
        return f"datasets.{name}.source", path
    if len(photos) == 1:
        return f"datasets.{photos[0]}.source", given
    raise ReclipError(
        f"{option} '{given}' names no dataset: write DATASET=PATH{nearest(name, photos)}"
    )
