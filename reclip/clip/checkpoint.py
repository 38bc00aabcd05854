"""Choose CLIP's model and activation for a weights file, before settings are written.

Weights of both activations, GELU and QuickGELU, have the same names and shapes. With the wrong one,
CLIP runs and its features are only worse.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import open_clip
from open_clip.constants import INCEPTION_MEAN
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from torch import Tensor

from reclip.clip import architecture
from reclip.clip.architecture import OPENAI_EXTRAS
from reclip.clip.load import published
from reclip.clip.shape import clip_shape
from reclip.common.errors import ReclipError
from reclip.common.text import listed
from reclip.config.models import ClipSettings
from reclip.weights.identity import weights_sha256
from reclip.weights.releases import clip_release, release_of
from reclip.weights.state_dict import read_state_dict

QUICK = "-quickgelu"


class Chosen(NamedTuple):
    """open_clip's name of the model; its image tower's activation, and the reason in words."""

    model: str
    activation: str
    said: str


def choose_model(
    path: str, model: str | None, activation: str | None, default: str = "default"
) -> Chosen:
    """Return the model of a weights file.

    Known checksums decide, then the layout of OpenAI's files, then what the user said.

    Args:
        model: as the user named it. activation: `clip.activation`, if the user set it.
        default: `clip.activation` if not.

    Raises ReclipError: the file cannot be read or fits no model; or nothing tells its activation:
        the error names both choices.
    """
    release = release_of(weights_sha256(path, "clip.checkpoint"))
    state = read_state_dict(Path(path).expanduser(), "clip.checkpoint")
    plain = _plain_name(model or (release.model if release else None), state, path)
    quick, known = plain + QUICK, open_clip.list_models()
    title = f"the weights are {release.title}" if release else ""
    evidence = (
        (release and release.quick_gelu, quick, title),
        (release, plain, title),
        (state.keys() >= OPENAI_EXTRAS, quick, "the file has the layout of OpenAI's own"),
        (model and model.endswith(QUICK), quick, "the model is named so"),
        (activation == "quick_gelu", quick, "clip.activation is set"),
        (activation == "gelu", plain, "clip.activation is set"),
        (quick not in known, plain, f"{plain} has no other"),
    )
    found = next(((name, why) for holds, name, why in evidence if holds), None)
    if found is None:
        raise ReclipError(
            f"'{path}' does not show whether it was trained with QuickGELU (OpenAI's weights, "
            f"MetaCLIP's, DFN's) or GELU (most of LAION's), and the wrong one gives worse masks: "
            f"add `--set clip.model={quick}` or `--set clip.model={plain} --set "
            f"clip.activation=gelu`"
        )
    name, why = found if found[0] in known else (plain, found[1])
    spec = ClipSettings(model=name, checkpoint=path, activation=activation or default)
    config = open_clip.get_model_config(name) if name in known else {}
    quick, said = architecture.activation(spec, config, {}, state, release)
    said = f"activation: {said}, because {why}"
    if release is None and not state.keys() >= OPENAI_EXTRAS and (tags := _of_other_norm(name)):
        said += f"; if these are the weights {listed(tags)}, set clip.norm to inception"
    return Chosen(name, _of_image_tower(spec, quick), said)


def activation_of_published(model: str, pretrained: str, activation: str | None) -> str:
    """Return the image tower's activation for weights that open_clip downloads under a tag.

    Raises ReclipError: as `said_of_published`.
    """
    spec = ClipSettings(model=model, pretrained=pretrained, activation=activation or "default")
    return _of_image_tower(spec, _of_published(spec)[0])


def said_of_published(spec: ClipSettings) -> str:
    """Return in words the activation of weights that open_clip downloads under a tag.

    Raises ReclipError: the model is no plain ViT, there is no such tag, or its weights expect
        another `clip.norm`.
    """
    return f"activation: {_of_published(spec)[1]}"


def _of_published(spec: ClipSettings) -> tuple[bool, str]:
    clip_shape(spec.model)
    config, tag = open_clip.get_model_config(spec.model), published(spec)
    release = clip_release(spec.model) if spec.pretrained == "openai" else None
    return architecture.activation(spec, config, tag, (), release)


def _of_other_norm(model: str) -> list[str]:
    """Return the tags of a model whose weights expect Inception's mean and deviation."""
    tags = list_pretrained_tags_by_model(model)
    return [tag for tag in tags if get_pretrained_cfg(model, tag)["mean"] == INCEPTION_MEAN]


def _of_image_tower(spec: ClipSettings, quick: bool) -> str:
    """Return the name of its activation. quick: the weights have QuickGELU."""
    return "QuickGELU" if quick and spec.activation != "gelu" else "GELU"


def _plain_name(model: str | None, state: dict[str, Tensor], path: str) -> str:
    """Return the name of the model without its activation; by the shapes if none is given."""
    if model is None:
        model = architecture.fitting_model(architecture.without_extras(state))
        if model is None:
            raise ReclipError(
                f"'{path}' fits none of open_clip's plain ViTs: give the weights of one, such as "
                f"ViT-B-16, or name its model"
            )
    return model.removesuffix(QUICK)
