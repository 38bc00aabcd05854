"""Find the CLIP architecture of a name and its activation, and check that weights fit it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import open_clip
import torch
from open_clip.constants import INCEPTION_MEAN, INCEPTION_STD
from open_clip.model import CLIP
from open_clip.pretrained import get_pretrained_cfg
from torch import Tensor

from reclip.clip.shape import is_plain
from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.config.models import ClipSettings
from reclip.weights.identity import MINI_CLIP, PACKAGED
from reclip.weights.releases import Release
from reclip.weights.state_dict import misfit

OPENAI_EXTRAS = {"input_resolution", "context_length", "vocab_size"}
"""Numbers that only OpenAI's own files hold besides the tensors."""


class Architecture(NamedTuple):
    """config: arguments of open_clip's CLIP. mean, std: of its images. activation: in words."""

    config: dict[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    activation: str


def architecture(spec: ClipSettings, names: Iterable[str], release: Release | None) -> Architecture:
    """Return the architecture of `spec`.

    All of OpenAI's CLIPs were trained with QuickGELU, though open_clip's ViT-B-16 has GELU. Files
    converted from OpenAI's do not show it. For them, set `clip.activation: quick_gelu` or a model
    named ViT-...-quickgelu (`reclip.clip.checkpoint` asks for it).

    Args:
        names: names of the tensors in the weights file.
        release: the published file that the weights are known to be.
    Raises ReclipError: there is no such model, or it is not a plain ViT. The dense features and
        the Reference read the parts of a plain one.
    """
    tag = (get_pretrained_cfg(spec.model, spec.pretrained) if spec.pretrained else None) or {}
    if spec.model == MINI_CLIP:
        card = read_json(PACKAGED / "mini-clip.json")
        config, mean, std = card["model_cfg"], card["mean"], card["std"]
    else:
        known = spec.model in open_clip.list_models()  # of another name it would ask a server
        config = open_clip.get_model_config(spec.model) if known else None
        mean, std = _mean_and_std(spec, tag, release)
    if config is None:
        raise ReclipError(
            f"There is no CLIP model {spec.model!r}. Set clip.model to mini-clip or one of "
            f"open_clip's, such as ViT-B-16."
        )
    if not is_plain(config):
        raise ReclipError(
            f"{spec.model} is not a plain CLIP. Set clip.model to a ViT such as ViT-B-16."
        )

    quick, said = activation(spec, config, tag, names, release)
    if quick:
        config["quick_gelu"] = True
    return Architecture(config, mean, std, said)


def _mean_and_std(
    spec: ClipSettings, tag: Mapping[str, Any], release: Release | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the normalisation that the weights expect: the tag's, else CLIP's.

    A file of weights does not say it. With `clip.norm: inception`, the user says it.
    """
    if not tag and release is None and spec.norm == "inception":
        return INCEPTION_MEAN, INCEPTION_STD
    return (
        tag.get("mean", open_clip.OPENAI_DATASET_MEAN),
        tag.get("std", open_clip.OPENAI_DATASET_STD),
    )


def activation(
    spec: ClipSettings,
    config: Mapping[str, Any],
    tag: Mapping[str, Any],
    names: Iterable[str],
    release: Release | None,
) -> tuple[bool, str]:
    """Return whether CLIP gets QuickGELU, and in words which activation it gets and why.

    Args:
        config, tag: open_clip's, of `clip.model` and `clip.pretrained`.
        names, release: as for `architecture`.
    Raises ReclipError: the model's name says QuickGELU, but the weights are known to have GELU.
    """
    by_name, title = f"clip.model is {spec.model}", release.title if release else ""
    known_gelu = release is not None and not release.quick_gelu
    if known_gelu and config.get("quick_gelu") and spec.activation != "quick_gelu":
        raise ReclipError(
            f"The CLIP weights are {title}, which was trained with GELU, but {by_name}: set "
            f"clip.model to {release.model}."
        )
    reasons = (
        (spec.activation == "quick_gelu", "clip.activation says so"),
        (config.get("quick_gelu"), by_name),
        (tag.get("quick_gelu"), f"clip.pretrained is {spec.pretrained}"),
        (release and release.quick_gelu, f"the weights are {title}"),
        (set(names) >= OPENAI_EXTRAS, "the file has the layout of OpenAI's own"),
    )
    why = next((reason for holds, reason in reasons if holds), None)
    gelu = f"GELU (the weights are {title})" if known_gelu else f"GELU ({by_name})"
    said = f"QuickGELU ({why})" if why else gelu
    if spec.activation == "gelu":
        said = f"GELU in the image tower (clip.activation says so), {said} in the text tower"
    elif spec.checkpoint and not why and not known_gelu:
        said += "; set clip.activation: quick_gelu for OpenAI's weights"
    return bool(why), said


def fitting_weights(
    name: str, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], source: object
) -> dict[str, Tensor]:
    """Return the weights in `state`, which must fit the state dict `wanted` of model `name`.

    source: names the weights in errors.
    Raises ReclipError: a tensor is missing, surplus or of another shape. The error names the model
        that fits, if open_clip has one.
    """
    weights = without_extras(state)
    if kind := _foreign(weights):
        raise ReclipError(
            f"{source} {kind}. Set clip.checkpoint to OpenAI's or open_clip's weights of {name}."
        )
    if difference := misfit(weights, wanted):
        fitting = fitting_model(weights)
        hint = f" Its shapes are those of {fitting}." if fitting else ""
        raise ReclipError(
            f"{source} does not fit {name} ({difference}).{hint} Correct clip.model or "
            f"clip.checkpoint."
        )
    return weights


def without_extras(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights alone: OpenAI's archive holds three numbers, a traced one the mask."""
    return {k: t for k, t in state.items() if k not in OPENAI_EXTRAS | {"attn_mask"}}


def _foreign(state: Mapping[str, Tensor]) -> str | None:
    """Return what the weights are; None for a ViT in OpenAI's and open_clip's layout."""
    if any(key.startswith("visual.layer1.") for key in state):
        return "holds a CLIP whose image tower is a ResNet, not a ViT"
    if any(key.startswith("vision_model.") for key in state):
        return "holds a CLIP in the layout of Hugging Face's transformers"
    if "visual.conv1.weight" not in state:
        return f"holds no CLIP (no visual.conv1.weight among {len(state)} tensors)"
    return None


def fitting_model(state: Mapping[str, Tensor]) -> str | None:
    """Return the shortest name of an open_clip ViT that `state` fits; None if there is none."""
    if "visual.conv1.weight" not in state:
        return None
    first = tuple(state["visual.conv1.weight"].shape)
    for name in sorted(open_clip.list_models(), key=len):
        config = open_clip.get_model_config(name)
        width, patch = (config["vision_cfg"].get(key) for key in ("width", "patch_size"))
        if first == (width, 3, patch, patch) and is_plain(config):
            with torch.device("meta"):  # shapes alone
                model = CLIP(**config)
            if misfit(state, model.state_dict()) is None:
                return name
    return None
