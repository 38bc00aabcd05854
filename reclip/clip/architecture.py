"""Find the CLIP architecture of a name, and check that weights fit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP
from torch import Tensor

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.weights.identity import MINI_CLIP, PACKAGED
from reclip.weights.state_dict import misfit

PLAIN = {
    "vision_cfg": {"image_size", "patch_size", "width", "layers", "head_width", "mlp_ratio"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers"},
}
"""Keys of open_clip's configs that leave CLIP's own ViT and text transformer as they are."""


def architecture(name: str) -> tuple[dict[str, Any], Any, Any]:
    """Return the arguments of open_clip's CLIP, and for mini-clip its mean and std (else None).

    Raises ReclipError: there is no such model, or it is not a plain ViT. The dense features and
        the Reference read the parts of a plain one.
    """
    if name == MINI_CLIP:
        card = read_json(PACKAGED / "mini-clip.json")
        return card["model_cfg"], card["mean"], card["std"]
    config = open_clip.get_model_config(name)
    if config is None:
        raise ReclipError(
            f"There is no CLIP model {name!r}. Set clip.model to mini-clip or one of open_clip's, "
            f"such as ViT-B-16."
        )
    if not _is_plain(config):
        raise ReclipError(f"{name} is not a plain CLIP. Set clip.model to a ViT such as ViT-B-16.")
    return config, None, None


def _is_plain(config: dict[str, Any]) -> bool:
    return (
        config.keys() <= {"embed_dim", "quick_gelu", *PLAIN}
        and all(config[tower].keys() <= keys for tower, keys in PLAIN.items())
        and isinstance(config["vision_cfg"]["layers"], int)  # a ResNet has a list
    )


def require_fit(
    name: str, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], source: object
) -> None:
    """Raise ReclipError if `state`, read from `source`, does not fit model `name`.

    Every tensor is compared. The error names the model that fits, if open_clip has one.
    """
    if kind := _foreign(state):
        raise ReclipError(
            f"{source} {kind}. Set clip.checkpoint to OpenAI's or open_clip's weights of {name}."
        )
    if difference := misfit(state, wanted):
        fitting = _fitting_model(state)
        advice = (
            f"its shapes are those of {fitting}, so set clip.model to that or correct"
            " clip.checkpoint"
            if fitting
            else "correct clip.model or clip.checkpoint"
        )
        raise ReclipError(f"{source} does not fit {name} ({difference}); {advice}.")


def _foreign(state: Mapping[str, Tensor]) -> str | None:
    """Return what the weights are; None for a ViT in OpenAI's and open_clip's layout."""
    if any(key.startswith("visual.layer1.") for key in state):
        return "holds a CLIP whose image tower is a ResNet, not a ViT"
    if any(key.startswith("vision_model.") for key in state):
        return "holds a CLIP in the layout of Hugging Face's transformers"
    if "visual.conv1.weight" not in state:
        return f"holds no CLIP (no visual.conv1.weight among {len(state)} tensors)"
    return None


def _fitting_model(state: Mapping[str, Tensor]) -> str | None:
    """Return the shortest name of an open_clip ViT that `state` fits; None if there is none."""
    first = tuple(state["visual.conv1.weight"].shape)
    for name in sorted(open_clip.list_models(), key=len):
        config = open_clip.get_model_config(name)
        width, patch = (config["vision_cfg"].get(key) for key in ("width", "patch_size"))
        if first == (width, 3, patch, patch) and _is_plain(config):
            with torch.device("meta"):  # shapes alone
                model = CLIP(**config)
            if misfit(state, model.state_dict()) is None:
                return name
    return None
