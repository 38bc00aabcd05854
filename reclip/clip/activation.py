"""Choose between GELU and QuickGELU by how the CLIP was trained."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from reclip.config.models import ClipSettings
from reclip.weights.releases import Release

log = logging.getLogger(__name__)

OPENAI_EXTRAS = {"input_resolution", "context_length", "vocab_size"}
"""Numbers that only OpenAI's own files hold besides the tensors."""


def trained_with_quickgelu(
    spec: ClipSettings,
    config: dict[str, Any],
    tag: dict[str, Any],
    names: Iterable[str],
    release: Release | None,
) -> bool:
    """Return whether to build both towers with QuickGELU; log the choice and its reason.

    All of OpenAI's CLIPs were trained with QuickGELU, though open_clip's ViT-B-16 has GELU. Files
    converted from OpenAI's do not show it. For them, set `clip.activation: quick_gelu` or a model
    named ViT-...-quickgelu.

    Args:
        config: open_clip's config of the model.
        tag: open_clip's entry for `spec.pretrained`; empty without one.
        names: names of the tensors in the file.
        release: the published file that the weights are known to be.
    """
    by_name = f"clip.model is {spec.model}"
    reasons = (
        (spec.activation == "quick_gelu", "clip.activation says so"),
        (config.get("quick_gelu"), by_name),
        (tag.get("quick_gelu"), f"clip.pretrained is {spec.pretrained}"),
        (release, f"the weights are {release.title if release else ''}"),
        (set(names) >= OPENAI_EXTRAS, "the file has the layout of OpenAI's own"),
    )
    why = next((reason for holds, reason in reasons if holds), None)
    said = f"QuickGELU ({why})" if why else f"GELU ({by_name})"
    if spec.activation == "gelu":
        said = f"GELU in the image tower (clip.activation says so), {said} in the text tower"
    elif spec.checkpoint and not why:
        said += "; set clip.activation: quick_gelu for OpenAI's weights"
    log.info("CLIP activation: %s", said)
    return why is not None
