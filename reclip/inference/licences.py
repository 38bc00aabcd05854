"""What a model was made from and under which licence, in sentences for its card."""

from __future__ import annotations

import re
from typing import Any

from reclip.config.models import ClipSettings, DistillSettings
from reclip.weights.releases import clip_release, release_of

UNKNOWN = "Their licence is that of the place they are from, which is not known here."

PHOTOS = {
    "world": "The scenes were drawn by reclip (MIT licence).",
    "voc": "The photos are PASCAL VOC 2012's, from Flickr and under its terms of use.",
    "context": "The photos are PASCAL VOC 2010's, from Flickr and under its terms of use.",
    "ade": "The photos are ADE20K's: for non-commercial research and education.",
    "folder": "The photos are the user's own: who passes the model on needs the right to have "
    "trained on them.",
}


def sources_of(settings: dict[str, Any]) -> tuple[str, ...]:
    """Of a package job: CLIP, the student's backbone and the photos, each with its licence."""
    said = [f"{settings['weights_of'][0]} {_clip_licence(settings['clip'], settings['weights'])}"]
    if settings["method"] == "distill":
        licence = _backbone_licence(settings["trained"], settings["weights_of"][1])
        said.append(" ".join([settings["weights_of"][1], *licence]))
    return (*said, PHOTOS[settings["photos"]])


def clip_sha256(settings: dict[str, Any]) -> str | None:
    """sha256 of the CLIP weights' file, as far as it is known: of a tag, only OpenAI's."""
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
            "They are under the MIT licence; OpenAI's model card calls any deployed use out of "
            "scope that was not thoroughly tested with the very classes."
        )
    return UNKNOWN


def _backbone_licence(distill: DistillSettings, said: str) -> list[str]:
    if distill.checkpoint and "open-mmlab" in said:
        licence = "They are under the Apache licence 2.0"
    elif distill.checkpoint:
        return [UNKNOWN]
    elif distill.pretrained:
        licence = "Their licence is named on the model's page at https://huggingface.co/timm"
    else:
        return []
    return [f"{licence}; ImageNet's photos are for non-commercial research and education."]
