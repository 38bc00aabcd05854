"""The dimensions of a CLIP, read from its card without importing open_clip, which takes seconds."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reclip.clip.load import MINI_CLIP
from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.weights.identity import PACKAGED


@dataclass(frozen=True)
class Tower:
    """A transformer: width of its tokens, number of blocks, width inside their MLPs, heads."""

    width: int
    layers: int
    hidden: int
    heads: int


@dataclass(frozen=True)
class ClipShape:
    """patch and image_size are pixels of a side, context is tokens, dim is the joint space's D."""

    image: Tower
    text: Tower
    patch: int
    image_size: int
    context: int
    dim: int


def clip_shape(name: str) -> ClipShape:
    """Dimensions of the packaged mini-clip or of a model that open_clip knows.

    Raises ReclipError: no such model, or no plain ViT.
    """
    if name == MINI_CLIP:
        card = read_json(PACKAGED / "mini-clip.json")["model_cfg"]
    else:
        path = Path(find_spec("open_clip").origin).parent / "model_configs" / f"{name}.json"
        if not path.is_file():
            raise ReclipError(
                f"params: 'clip.model': there is no CLIP model '{name}': name mini-clip or one of"
                " open_clip's, such as ViT-B-16"
            )
        card = read_json(path)
    vision, text = card["vision_cfg"], card["text_cfg"]
    try:
        return ClipShape(
            image=_tower(vision),
            text=_tower(text),
            patch=int(vision["patch_size"]),
            image_size=int(vision["image_size"]),
            context=int(text["context_length"]),
            dim=int(card["embed_dim"]),
        )
    except (KeyError, TypeError) as error:
        raise ReclipError(
            f"params: 'clip.model': the towers of '{name}' differ from CLIP's ViT: name a model "
            f"such as ViT-B-16"
        ) from error


def _tower(config: dict[str, Any]) -> Tower:
    """A card names the heads of the text tower, and of the image tower their width."""
    width = int(config["width"])
    heads = int(config.get("heads", width // config.get("head_width", 64)))
    return Tower(width, int(config["layers"]), int(width * config.get("mlp_ratio", 4)), heads)
