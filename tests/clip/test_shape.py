"""The dimensions of a CLIP, read from its card."""

from __future__ import annotations

import pytest
from open_clip.factory import get_model_config

from reclip.clip.shape import ClipShape, clip_shape
from reclip.common.errors import ReclipError


def test_dimensions_are_those_of_the_models() -> None:
    assert clip_shape("ViT-B-16") == ClipShape(patch=16, context=77, dim=512)
    assert clip_shape("ViT-L-14").dim == get_model_config("ViT-L-14")["embed_dim"]
    assert clip_shape("mini-clip").dim == 64


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ViT-B-17", "no CLIP model"),
        ("hf-hub:laion/CLIP-ViT-B-32", "no CLIP model"),
        ("RN50", "differ from CLIP's ViT"),
        ("ViT-M-16-alt", "differ from CLIP's ViT"),  # layer scale
        ("ViT-L-14-CLIPA", "differ from CLIP's ViT"),  # no ln_pre, mean pooling
        ("ViT-H-14-worldwide", "differ from CLIP's ViT"),  # another tokenizer
    ],
)
def test_other_models_are_refused(name: str, words: str) -> None:
    with pytest.raises(ReclipError, match=words):
        clip_shape(name)
