"""Settings files that `reclip init` writes: complete, commented, validated beforehand."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import yaml

from reclip.config import Params
from reclip.errors import ReclipError
from reclip.files import file_sha256, write_text
from reclip.params import validate
from reclip.plan import Plan

# Lines of the VOC preset that differ with real CLIP weights: the official code's CVPR-era recipe.
WITH_WEIGHTS = {
    "model: mini-clip\n  residual: false # as in params.yaml\n  mlp: false": "model: ViT-B-16\n"
    "  checkpoint: CHECKPOINT\n  activation: gelu\n  block_ln_eps: 1.0e-6\n  norm: imagenet",
    "short_side: 96": "short_side: 512",
    "crop: 96, scale: [0.8, 1.5]": "crop: 512, scale: [0.5, 2.0]",
    "  {epochs: 20, gumbel_scale: 50, positional_init: 0.05, positional_hidden: [64, 32]}": (
        "  {epochs: 200}"
    ),
    "  {backbone: resnet10t, pretrained: false, epochs: 10, feature_resolution: grid, "
    "logit_scale: 30}": "  {backbone: resnet50c, pretrained: true, epochs: 100}",
    "probe: {epochs: 10}": "probe: {epochs: 60}",
}


def preset_text(name: str) -> str:
    return (resources.files("reclip.presets") / f"{name}.yaml").read_text(encoding="utf-8")


def write_preset(
    name: str,
    output: Path,
    *,
    archive: str | None = None,
    folder: str | None = None,
    checkpoint: str | None = None,
    limit: int | None = None,
) -> Path:
    """Write preset `name` with the given source filled in; returns `output`.

    Raises ReclipError: a file or folder that is not there, or options that the preset has not.
    """
    text = preset_text(name)
    given = {"archive": archive, "folder": folder, "checkpoint": checkpoint, "limit": limit}
    if name == "mini" and any(given.values()):
        raise ReclipError("preset mini draws its own data: leave out the options for voc")
    if name == "voc":
        text = _fill_voc(text, **given)
    Plan(validate(Params, yaml.safe_load(text)))
    write_text(output, text)
    return output


def _fill_voc(text: str, archive, folder, checkpoint, limit) -> str:
    """The VOC preset with its source and weights filled in, by whole lines."""
    source = ["kind: voc"]
    if archive:
        if not Path(archive).is_file():
            raise ReclipError(f"no archive '{archive}': give the path of a tar or zip file")
        source += [f"archive: {json.dumps(archive)}", f"sha256: {json.dumps(file_sha256(archive))}"]
    if folder:
        if not Path(folder).is_dir():
            raise ReclipError(f"no folder '{folder}': give the path of the unpacked data")
        source.append(f"folder: {json.dumps(folder)}")
    if limit:
        source.append(f"limit: {limit}")
    text = text.replace("source: {kind: voc}", f"source: {{{', '.join(source)}}}")
    if checkpoint:
        if not Path(checkpoint).is_file():
            raise ReclipError(f"no checkpoint '{checkpoint}': give the path of a weights file")
        for mini, real in WITH_WEIGHTS.items():
            if mini not in text:
                raise RuntimeError(f"the VOC preset has no line '{mini}'")
            text = text.replace(mini, real.replace("CHECKPOINT", json.dumps(checkpoint)))
    return text
