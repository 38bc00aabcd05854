"""GELU or QuickGELU: which one a CLIP was trained with, and which one it gets."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from reclip.config.models import ClipSettings
from reclip.weights.releases import Release

log = logging.getLogger(__name__)

OPENAI_EXTRAS = {"input_resolution", "context_length", "vocab_size"}
"""Numbers that stand beside the tensors in what OpenAI exported, and in nothing else."""


def trained_with_quickgelu(
    spec: ClipSettings,
    config: dict[str, Any],
    tag: dict[str, Any],
    names: Iterable[str],
    release: Release | None,
) -> bool:
    """Whether both towers are to be built with QuickGELU; says so and why in the log.

    config: open_clip's of the model; tag: its entry for `spec.pretrained`, empty without one;
    names: the tensors in the file; release: the published file that it is known to be. All of
    OpenAI's were trained with QuickGELU, though open_clip's ViT-B-16 has GELU. Weights that were
    converted to another file do not show it: `clip.activation: quick_gelu` or a model named
    ViT-...-quickgelu says it of them.
    """
    reasons = (
        (spec.activation == "quick_gelu", "clip.activation says so"),
        (config.get("quick_gelu"), f"clip.model is {spec.model}"),
        (tag.get("quick_gelu"), f"clip.pretrained is {spec.pretrained}"),
        (release, f"the weights are {release.title if release else ''}"),
        (set(names) >= OPENAI_EXTRAS, "the file is laid out as OpenAI's own"),
    )
    why = next((reason for holds, reason in reasons if holds), None)
    if spec.activation == "gelu":
        text_tower = "QuickGELU" if why else "GELU"
        log.info(
            "CLIP activation: GELU in the image tower (clip.activation says so), %s in the text"
            " tower (%s)",
            text_tower,
            why or f"clip.model is {spec.model}",
        )
    elif why:
        log.info("CLIP activation: QuickGELU (%s)", why)
    else:
        hint = "; set clip.activation: quick_gelu for OpenAI's weights" if spec.checkpoint else ""
        log.info("CLIP activation: GELU (clip.model is %s%s)", spec.model, hint)
    return why is not None
