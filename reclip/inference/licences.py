"""The sources of a model and their licences, in sentences for its card."""

from __future__ import annotations

import re
from typing import Any

from reclip.config.models import ClipSettings, DistillSettings
from reclip.weights.releases import clip_release, release_of

UNKNOWN = "Their licence is not known: look where you got them."

PHOTOS = {
    "world": "The scenes were drawn by reclip (MIT licence).",
    "voc": "The photos are from PASCAL VOC 2012 (Flickr, under Flickr's terms of use).",
    "context": "The photos are from PASCAL VOC 2010 (Flickr, under Flickr's terms of use).",
    "ade": "The photos are from ADE20K: for non-commercial research and education only.",
    "folder": "The user's own photos. To share the model you need permission to train on them.",
}


def sources_of(settings: dict[str, Any]) -> tuple[str, ...]:
    """Return what a model was made from: CLIP, the student's backbone, the photos.

    settings: of a package job.
    """
    clip, *backbone = settings["weights_of"]
    said = [f"{clip} {_clip_licence(settings['clip'], settings['weights'])}"]
    if backbone:
        said.append(backbone[0] + _backbone_licence(settings["trained"], backbone[0]))
    return (*said, PHOTOS[settings["photos"]])


def clip_sha256(settings: dict[str, Any]) -> str | None:
    """Return the sha256 of the CLIP weights' file; None if it is not known.

    For weights named by a tag, it is known only for OpenAI's.
    """
    if re.fullmatch(r"[0-9a-f]{64}", settings["weights"]):
        return settings["weights"]
    clip = settings["clip"]
    release = clip_release(clip.model) if clip.pretrained == "openai" else None
    return release.sha256 if release else None


def _clip_licence(clip: ClipSettings, weights: str) -> str:
    if clip.model == "mini-clip":
        return "They are part of reclip (MIT licence)."
    release = release_of(weights)
    if clip.pretrained == "openai" or (release and release.title.startswith("OpenAI")):
        return (
            "They are under the MIT licence. By OpenAI's model card, any deployed use is out of "
            "scope unless it was thoroughly tested with the same classes."
        )
    return UNKNOWN


def _backbone_licence(distill: DistillSettings, backbone: str) -> str:
    if distill.checkpoint and "open-mmlab" not in backbone:
        return f" {UNKNOWN}"
    if distill.checkpoint:
        licence = "They are under the Apache licence 2.0"
    elif distill.pretrained:
        licence = "Their licence is on the model's page at https://huggingface.co/timm"
    else:  # random numbers
        return ""
    return f" {licence}. The photos of ImageNet are for non-commercial research and education only."
