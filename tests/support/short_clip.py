"""open_clip's real architectures with two layers in each tower: real widths in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file

LAYERS = 2


@contextmanager
def short(*names: str) -> Iterator[None]:
    """Let open_clip's models `names` have two layers in each tower."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            config = open_clip.get_model_config(name)
            for tower in ("vision_cfg", "text_cfg"):
                config[tower]["layers"] = LAYERS
            patch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
        yield


def seeded_model(name: str, seed: int = 0) -> CLIP:
    """Return a model of open_clip with its own random initial weights, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLIP(**open_clip.get_model_config(name)).eval()


def save_seeded(path: Path, name: str) -> str:
    """Write such weights in float16 to a safetensors file."""
    save_file(seeded_model(name).half().state_dict(), path)
    return str(path)
