"""The dimensions of a CLIP, read without open_clip, whose import takes seconds."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.weights.identity import MINI_CLIP, PACKAGED

PLAIN = {
    "vision_cfg": {"image_size", "patch_size", "width", "layers", "head_width", "mlp_ratio"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers"},
}
"""Keys of open_clip's configs that leave CLIP's own ViT and text transformer as they are.

The dense features and the Reference read the parts of these: a class token, a normalisation before
the first block, causal attention over the text, and CLIP's own tokens of it.
"""


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
    if not is_plain(card):
        raise ReclipError(
            f"params: 'clip.model': the towers of '{name}' differ from CLIP's ViT: name a model "
            f"such as ViT-B-16"
        )
    return ClipShape(
        patch=card["vision_cfg"]["patch_size"],
        context=card["text_cfg"]["context_length"],
        dim=card["embed_dim"],
    )


def is_plain(config: dict[str, Any]) -> bool:
    """Return whether a config of open_clip describes CLIP's own ViT and text transformer."""
    return (
        PLAIN.keys() <= config.keys() <= {"embed_dim", "quick_gelu", *PLAIN}
        and all(config[tower].keys() <= keys for tower, keys in PLAIN.items())
        and isinstance(config["vision_cfg"]["layers"], int)  # a ResNet has a list
    )
