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
    """Return the templates of a named set, each with one `{}` for the class name.

    "single" is "a photo of a {}."; "imagenet" is CLIP's 80 ImageNet templates; "reclip" is these 80
    and 5 "in the scene" ones, in the official code's order (the paper, Sec. 3.1, says "several").
    The two long sets import open_clip, which takes seconds.
    Raises ReclipError: there is no such set.
    """
    if name not in TEMPLATE_SETS:
        raise ReclipError(f"No template set {name!r}. Choose one of {', '.join(TEMPLATE_SETS)}.")
    if name == "single":
        return ["a photo of a {}."]
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    imagenet = [fill("{}") for fill in OPENAI_IMAGENET_TEMPLATES]
    return imagenet + list(IN_THE_SCENE) if name == "reclip" else imagenet
