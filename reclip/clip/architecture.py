"""Which CLIP a name or a state dict stands for, and whether they belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import open_clip
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from reclip.clip.load import MINI_CLIP
from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.weights.identity import PACKAGED
from reclip.weights.state_dict import misfit


def architecture(name: str) -> tuple[dict[str, Any], Any, Any]:
    """Arguments of open_clip's CLIP, and (mini-clip only) its mean and std.

    Raises ReclipError: there is no such model.
    """
    if name == MINI_CLIP:
        asset = read_json(PACKAGED / "mini-clip.json")
        return dict(asset["model_cfg"]), asset["mean"], asset["std"]
    config = open_clip.get_model_config(name)
    if config is None:
        raise ReclipError(
            f"There is no CLIP model {name!r}; name mini-clip or one of open_clip's, such as"
            " ViT-B-16, as clip.model."
        )
    return config, None, None


def build(name: str, config: dict[str, Any]) -> CLIP:
    """The model with random weights; `name` is for errors.

    Raises ReclipError: it is no plain ViT, whose parts the dense features and the Reference read.
    """
    other = ReclipError(f"{name} is not a plain CLIP; name a ViT such as ViT-B-16 as clip.model.")
    if "hf_model_name" in config.get("text_cfg", {}):  # another text tower, another tokenizer
        raise other
    try:
        model = CLIP(**config)
    except TypeError as error:
        raise other from error
    visual = model.visual
    plain = (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and not visual.final_ln_after_pool
        and model.text_pool_type == "argmax"
        and isinstance(model.text_projection, nn.Parameter)
        and all(
            isinstance(block, ResidualAttentionBlock) and isinstance(block.ls_1, nn.Identity)
            for tower in (visual.transformer, model.transformer)
            for block in tower.resblocks
        )
    )
    if not plain:
        raise ReclipError(
            f"The towers of {name} differ from CLIP's ViT; name ViT-B-16, say, as clip.model."
        )
    return model


def require_fit(
    name: str, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], source: object
) -> None:
    """Raises ReclipError: `state`, read from `source`, does not fit model `name`, tensor by tensor.

    The error names the model that it would fit, if open_clip has one.
    """
    kind = _foreign(state)
    if kind:
        raise ReclipError(
            f"{source} {kind}; give OpenAI's or open_clip's weights of {name} as clip.checkpoint."
        )
    difference = misfit(state, wanted)
    if difference:
        fitting = _fitting_model(state)
        advice = (
            f"its shapes are those of {fitting}, so name that as clip.model or correct"
            " clip.checkpoint"
            if fitting
            else "correct clip.model or clip.checkpoint"
        )
        raise ReclipError(f"{source} does not fit {name} ({difference}); {advice}.")


def _foreign(state: Mapping[str, Tensor]) -> str | None:
    """What a state dict is that is no ViT CLIP in OpenAI's and open_clip's layout."""
    if any(key.startswith("visual.layer1.") for key in state):
        return "holds a CLIP whose image tower is a ResNet, not a ViT"
    if any(key.startswith("vision_model.") for key in state):
        return "holds a CLIP laid out for Hugging Face's transformers"
    if "visual.conv1.weight" not in state:
        return f"holds no CLIP (no visual.conv1.weight among {len(state)} tensors)"
    return None


def _fitting_model(state: Mapping[str, Tensor]) -> str | None:
    """The plainest name of an open_clip ViT with the shapes of `state`."""
    try:
        found = _sizes_of_state(state)
    except (KeyError, IndexError):  # a tensor of the towers is missing
        return None
    for name in sorted(open_clip.list_models(), key=len):
        if _sizes_of_model(open_clip.get_model_config(name)) == found:
            return name
    return None


def _sizes_of_state(state: Mapping[str, Tensor]) -> tuple:
    conv = state["visual.conv1.weight"].shape
    side = math.isqrt(len(state["visual.positional_embedding"]) - 1) * conv[-1]
    context, width = state["positional_embedding"].shape
    return (
        state["text_projection"].shape[1],
        (conv[0], conv[-1], side, _layers(state, "visual.transformer")),
        (width, len(state["token_embedding.weight"]), context, _layers(state, "transformer")),
    )


def _layers(state: Mapping[str, Tensor], tower: str) -> int:
    return sum(key.startswith(f"{tower}.") and key.endswith(".ln_1.weight") for key in state)


def _sizes_of_model(config: Mapping[str, Any]) -> tuple | None:
    """As `_sizes_of_state`; None where towers are not open_clip's own, or the model holds more."""
    if config.keys() - {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}:
        return None
    vision, text = CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**config["text_cfg"])
    if vision.timm_model_name or text.hf_model_name:
        return None
    return (
        config["embed_dim"],
        (vision.width, vision.patch_size, vision.image_size, vision.layers),
        (text.width, text.vocab_size, text.context_length, text.layers),
    )
