"""A seeded CLIP of a few thousand weights (besides the token table), for unit tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import open_clip
import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import QuickGELU

from reclip.clip.load import Clip

TINY = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


def tiny_model(seed: int = 0, **changes) -> CLIP:
    """Return a model whose weights are so large that every path through the towers counts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(**{**TINY, **changes})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def tiny_clip(seed: int = 0) -> Clip:
    tokenizer = SimpleTokenizer(context_length=TINY["text_cfg"]["context_length"])
    return Clip(tiny_model(seed), tokenizer, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@contextmanager
def in_registry(folder: Path) -> Iterator[None]:
    """Register the tiny architecture with open_clip as "tiny-ViT"; write its config to `folder`."""
    (folder / "tiny-ViT.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder)
    open_clip.factory._rescan_model_configs()


QUICK = {("image", QuickGELU), ("text", QuickGELU)}
GELU = {("image", torch.nn.GELU), ("text", torch.nn.GELU)}


def activations(clip: Clip) -> set[tuple[str, type]]:
    """Return the activations of each tower's blocks."""
    towers = {"image": clip.model.visual.transformer, "text": clip.model.transformer}
    return {(n, type(block.mlp.gelu)) for n, tower in towers.items() for block in tower.resblocks}
