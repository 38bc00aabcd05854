"""Identity of the files of weights, cheap enough to ask on every command (imports no torch)."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.common.hashing import cached_sha256
from reclip.config.models import ClipSettings, DistillSettings
from reclip.weights.releases import (
    OPEN_MMLAB,
    Release,
    check_name,
    clip_release,
    release_named,
    release_of,
)

log = logging.getLogger(__name__)

PACKAGED = Path(__file__).parents[1] / "assets"

MAX_HEADER = 100_000_000
"""Bytes of a safetensors file's header (its specification)."""


def weights_sha256(file: str, key: str, wanted: Release | None = None) -> str:
    """sha256 of the weights file that setting `key` names.

    wanted: the published file to fetch if this one is missing, where its name does not tell.
    Raises ReclipError: the file is missing, or named like a published one that it is not.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        release = release_named(path.name) or wanted
        fetch = f"download {release.url} and put it" if release else "put the weights"
        raise ReclipError(f"params: '{key}': no file '{path}': {fetch} there or change the path")
    sha256 = cached_sha256(path)
    check_name(path, sha256, key)
    return sha256


def checkpoint_sha256(clip: ClipSettings) -> str:
    """sha256 of the weights file; of packaged weights as recorded; a tag stands for itself.

    Raises ReclipError as `weights_sha256` does.
    """
    if clip.checkpoint:
        return weights_sha256(clip.checkpoint, "clip.checkpoint", clip_release(clip.model))
    if clip.model == "mini-clip":
        return read_json(PACKAGED / "mini-clip.json")["sha256"]
    return f"open_clip:{clip.model}:{clip.pretrained}"


def backbone_sha256(distill: DistillSettings) -> str | None:
    """sha256 of the file of ImageNet weights; None without one.

    Raises ReclipError as `weights_sha256` does.
    """
    if distill.checkpoint is None:
        return None
    wanted = OPEN_MMLAB.get(distill.backbone)
    return weights_sha256(distill.checkpoint, "distill.checkpoint", wanted)


def log_file(what: str, path: Path, sha256: str) -> None:
    """Say in the log which file is read and whether it is one that is known."""
    release = release_of(sha256)
    known = release.title if release else safetensors_origin(path) or "not a published file we know"
    log.info("%s: %s, sha256 %s, %s", what, path, sha256, known)


def describe(clip: ClipSettings) -> str:
    """What the CLIP's weights are, in one sentence for a table's footnote.

    Raises ReclipError as `weights_sha256` does.
    """
    if clip.checkpoint:
        weights = describe_file(Path(clip.checkpoint).expanduser(), checkpoint_sha256(clip))
    elif clip.model == "mini-clip":
        weights = "the packaged mini-clip, trained on drawn scenes"
    elif clip.pretrained == "openai":
        weights = f"OpenAI's {clip.model.removesuffix('-quickgelu')}"
    else:
        weights = f"open_clip's {clip.model} with the tag {clip.pretrained}"
    return f"The CLIP weights are {weights}."


def describe_backbone(distill: DistillSettings) -> str:
    """What the student's backbone starts from, in one sentence for a table's footnote.

    Raises ReclipError as `weights_sha256` does.
    """
    if sha256 := backbone_sha256(distill):
        weights = describe_file(Path(distill.checkpoint).expanduser(), sha256)
    elif distill.pretrained:
        weights = "timm's pretrained weights"
    else:
        weights = "random numbers"
    return f"The student's backbone, {distill.backbone}, starts from {weights}."


def describe_file(path: Path, sha256: str) -> str:
    """A published file's title; of another its name, sha256 and what it says of its origin."""
    if release := release_of(sha256):
        return release.title
    origin = safetensors_origin(path)
    return f"{path.name}, sha256 {sha256[:12]}" + (f": {origin}" if origin else "")


def safetensors_origin(path: Path) -> str | None:
    """The entry "origin" of a safetensors file's metadata, on one line; None where it has none."""
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(MAX_HEADER, path.stat().st_size):  # a file of another format
            return None
        try:
            metadata = json.loads(stream.read(length))["__metadata__"]
            return " ".join(metadata["origin"].split()) or None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
