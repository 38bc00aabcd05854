"""The dimensions of a CLIP, read without open_clip, whose import takes seconds."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.weights.identity import MINI_CLIP, PACKAGED


class ClipShape(NamedTuple):
    """patch: pixels of its side; context: tokens; dim: D of the joint space."""

    patch: int
    context: int
    dim: int


def clip_shape(name: str) -> ClipShape:
    """Return the dimensions of mini-clip or of one of open_clip's models.

    Raises ReclipError: there is no such model, or it is not a plain ViT.
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
    try:
        return ClipShape(
            patch=int(card["vision_cfg"]["patch_size"]),
            context=int(card["text_cfg"]["context_length"]),
            dim=int(card["embed_dim"]),
        )
    except (KeyError, TypeError) as error:
        raise ReclipError(
            f"params: 'clip.model': the towers of '{name}' differ from CLIP's ViT: name a model "
            f"such as ViT-B-16"
        ) from error
