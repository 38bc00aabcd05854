"""Write a model's card, the README.md beside its weights, and its sources and their licences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reclip.common.markdown import md
from reclip.common.templates import fill
from reclip.config.models import ClipSettings, DistillSettings
from reclip.inference.model_info import WEIGHTS, ModelInfo
from reclip.pipeline.job import Job
from reclip.weights.identity import MINI_BACKBONE
from reclip.weights.releases import release_of

UNKNOWN = "Their licence is not known: look where you got them."

COCO = "The photos are from COCO 2017 (Flickr, under Flickr's terms of use)."
PHOTOS = {
    "world": "The scenes were drawn by reclip (MIT licence).",
    "voc": "The photos are from PASCAL VOC 2012 (Flickr, under Flickr's terms of use).",
    "context": "The photos are from PASCAL VOC 2010 (Flickr, under Flickr's terms of use).",
    "ade": "The photos are from ADE20K: for non-commercial research and education only.",
    "cityscapes": "The photos are from Cityscapes: for non-commercial purposes only.",
    "coco-stuff-27": COCO,
    "coco-stuff-171": COCO,
    "folder": "The user's own photos. To share the model you need permission to train on them.",
}


def model_card(
    info: ModelInfo, job: Job, facts: dict[str, Any], metrics: dict[str, Any] | None
) -> str:
    """Return the card in Markdown, from the template card.md.j2.

    facts: the dataset's classes.json. metrics: the run's metrics.json; None without labels.
    """
    seeds = metrics["seeds"] if metrics else []
    return fill(
        Path(__file__).with_suffix(".md.j2"),
        info=info,
        settings=job.settings,
        folder=job.folder.as_posix(),
        facts=facts,
        metrics=metrics,
        measured=next((s for s in seeds if s["seed"] == info.seed), None),
        classes=[[md(name) for name in names] for names in info.classes],
        weights=WEIGHTS,
        # A checkpoint's path would name the folders of the person who trained the model.
        trained=job.settings["trained"].model_dump(mode="json", exclude={"checkpoint"}),
    )


def sources_of(settings: dict[str, Any]) -> tuple[str, ...]:
    """Return what a model was made from: CLIP, the student's backbone, the photos.

    settings: of a package job.
    """
    clip, *backbone = settings["weights_of"]
    said = [f"{clip} {_clip_licence(settings['clip'], settings['weights'])}"]
    if backbone:
        said.append(backbone[0] + _backbone_licence(settings["trained"], backbone[0]))
    return (*said, PHOTOS[settings["photos"]])


def _clip_licence(clip: ClipSettings, weights: str) -> str:
    if clip.model == "mini-clip":
        return "They are part of reclip (MIT licence)."
    release = release_of(weights)
    if clip.pretrained == "openai" or (release and release.title.startswith("OpenAI")):
        return (
            "They are under the MIT licence. By OpenAI's model card, any deployed use is out of "
            "scope unless it was thoroughly tested with the same classes."
        )
    if (clip.pretrained or "").startswith("metaclip"):
        return "They are under CC BY-NC 4.0, for non-commercial use only."
    return UNKNOWN


def _backbone_licence(distill: DistillSettings, backbone: str) -> str:
    if distill.checkpoint == MINI_BACKBONE:
        return " They are part of reclip (MIT licence)."
    if distill.checkpoint and "open-mmlab" not in backbone:
        return f" {UNKNOWN}"
    if distill.checkpoint:
        licence = "They are under the Apache licence 2.0"
    elif distill.pretrained:
        licence = "Their licence is on the model's page at https://huggingface.co/timm"
    else:  # random numbers
        return ""
    return f" {licence}. The photos of ImageNet are for non-commercial research and education only."
