"""Prompt templates of the Query text. Importing this imports neither torch nor open_clip."""

from __future__ import annotations

from reclip.common.errors import ReclipError

IN_THE_SCENE = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)

TEMPLATE_SETS = ("single", "imagenet", "reclip")


def templates(name: str) -> list[str]:
    """Templates of a named set, each with one `{}` for the class name.

    "single": "a photo of a {}."; "imagenet": the 80 ImageNet templates of CLIP; "reclip": these 80
    and 5 "in the scene" ones, in the official code's order (the paper, Sec. 3.1, says "several").
    Raises ReclipError for another name. The two long sets import open_clip (seconds).
    """
    if name == "single":
        return ["a photo of a {}."]
    if name not in TEMPLATE_SETS:
        raise ReclipError(
            f"There is no template set {name!r}; choose one of {', '.join(TEMPLATE_SETS)}."
        )
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    imagenet = [fill("{}") for fill in OPENAI_IMAGENET_TEMPLATES]
    return imagenet + list(IN_THE_SCENE) if name == "reclip" else imagenet
