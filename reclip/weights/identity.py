"""Identity of weights files: checksums and descriptions. Imports no torch, so any command asks."""

from __future__ import annotations

import logging
from pathlib import Path

from safetensors import SafetensorError, safe_open

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.common.hashing import cached_sha256
from reclip.config.models import ClipSettings, DistillSettings
from reclip.weights.releases import OPEN_MMLAB, Release, clip_release, release_named, release_of

log = logging.getLogger(__name__)

MINI_CLIP = "mini-clip"
"""The `clip.model` of the packaged CLIP."""

MINI_BACKBONE = "mini-backbone"
"""The `distill.checkpoint` of the packaged backbone."""

PACKAGED = Path(__file__).parents[1] / "assets"
"""Folder of the packaged weights, such as mini-clip.safetensors with its card, mini-clip.json."""


def weights_sha256(file: str, key: str, wanted: Release | None = None) -> str:
    """Return the sha256 of the weights file that setting `key` names.

    wanted: the published file to download if `file` is missing and its name is not a known one.
    Raises ReclipError: the file is missing, or has a published file's name but other content.
    """
    path = Path(file).expanduser()
    named = release_named(path.name)
    if not path.is_file():
        release = named or wanted
        fetch = f"download {release.url} and put it" if release else "put the weights"
        raise ReclipError(f"params: '{key}': no file '{path}': {fetch} there or change the path")
    sha256 = cached_sha256(path)
    if named and not sha256.startswith(named.sha256):
        raise ReclipError(
            f"params: '{key}': '{path}' is named like {named.title}, but its sha256 is "
            f"{sha256[:12]}..., not {named.sha256[:12]}...: the download was cut short, or this "
            f"is another file. Download {named.url} again, or rename the file."
        )
    return sha256


def checkpoint_sha256(clip: ClipSettings) -> str:
    """Return the sha256 of the CLIP weights; for an open_clip tag, the tag's name.

    The sha256 of the packaged weights is read from their card.
    Raises ReclipError: as `weights_sha256`.
    """
    if clip.checkpoint:
        return weights_sha256(clip.checkpoint, "clip.checkpoint", clip_release(clip.model))
    if clip.model == MINI_CLIP:
        return read_json(PACKAGED / "mini-clip.json")["sha256"]
    return f"open_clip:{clip.model}:{clip.pretrained}"


def backbone_sha256(distill: DistillSettings) -> str | None:
    """Return the sha256 of the file of ImageNet weights; None if the settings name no file.

    Raises ReclipError: as `weights_sha256`.
    """
    if distill.checkpoint is None:
        return None
    wanted = OPEN_MMLAB.get(distill.backbone)
    return weights_sha256(str(backbone_file(distill.checkpoint)), "distill.checkpoint", wanted)


def backbone_file(checkpoint: str) -> Path:
    """Return the path of the weights that `distill.checkpoint` names."""
    if checkpoint == MINI_BACKBONE:
        return PACKAGED / f"{MINI_BACKBONE}.safetensors"
    return Path(checkpoint).expanduser()


def log_file(what: str, path: Path, sha256: str) -> None:
    """Log which weights file is read, and whether it is a published one."""
    release = release_of(sha256)
    known = release.title if release else safetensors_origin(path) or "not a published file we know"
    log.info("%s: %s, sha256 %s, %s", what, path, sha256, known)


def describe(clip: ClipSettings) -> str:
    """Describe the CLIP weights in one sentence for a table's footnote.

    Raises ReclipError: as `weights_sha256`.
    """
    if clip.checkpoint:
        weights = describe_file(Path(clip.checkpoint).expanduser(), checkpoint_sha256(clip))
    elif clip.model == MINI_CLIP:
        weights = "the packaged mini-clip, trained on drawn scenes"
    elif clip.pretrained == "openai":
        weights = f"OpenAI's {clip.model.removesuffix('-quickgelu')}"
    else:
        weights = f"open_clip's {clip.model} with the tag {clip.pretrained}"
    return f"The CLIP weights are {weights}."


def describe_backbone(distill: DistillSettings) -> str:
    """Describe the initial weights of the student's backbone in one sentence for a footnote.

    Raises ReclipError: as `weights_sha256`.
    """
    sha256 = backbone_sha256(distill)
    if distill.checkpoint == MINI_BACKBONE:
        weights = "the packaged mini-backbone, which was taught to name single drawn objects"
    elif sha256:
        weights = describe_file(backbone_file(distill.checkpoint), sha256)
    elif distill.pretrained:
        weights = "timm's pretrained weights"
    else:
        weights = "random numbers"
    return f"The student's backbone, {distill.backbone}, starts from {weights}."


def describe_file(path: Path, sha256: str) -> str:
    """Return a published file's title; for another file, its name, sha256 and recorded origin."""
    if release := release_of(sha256):
        return release.title
    origin = safetensors_origin(path)
    return f"{path.name}, sha256 {sha256[:12]}" + (f": {origin}" if origin else "")


def safetensors_origin(path: Path) -> str | None:
    """Return the entry "origin" of a safetensors file's metadata, on one line; None without one."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except SafetensorError:  # a file of another format
        return None
    return " ".join(metadata.get("origin", "").split()) or None
