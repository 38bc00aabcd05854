"""The networks of the pipeline on PyTorch's meta device: shapes without data or weights."""

from __future__ import annotations

import copy
import json
from functools import cache

import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from reclip.clip.architecture import architecture
from reclip.clip.load import Clip
from reclip.config.models import ClipSettings, DistillSettings, RectifySettings
from reclip.distill.deeplab import DeepLabV2, SegmentationHead
from reclip.rectify.model import PositionalNet, Rectifier
from reclip.rectify.plus import Decoder, PositionalTexts

WORD = "cat"  # one token of CLIP's vocabulary


def tensor(*shape: int, learns: bool = False) -> Tensor:
    return torch.empty(shape, device="meta", requires_grad=learns)


def size_of(module: nn.Module) -> int:
    """Return the bytes of a module's weights and buffers."""
    return sum(t.numel() * t.element_size() for t in module.state_dict().values())


@cache
def clip(name: str, layers: int | None = None) -> Clip:
    """Return the CLIP model `name` without weights, or with the first `layers` of each tower.

    Raises ReclipError: there is no such model, or it is not a plain ViT.
    """
    if layers:
        short = copy.copy(clip(name))
        short.model = copy.deepcopy(short.model)
        for tower in (short.model.transformer, short.model.visual.transformer):
            tower.resblocks = tower.resblocks[:layers]
        return short
    with torch.device("meta"):
        model = CLIP(**architecture(ClipSettings(model=name), (), None).config)
    return Clip(model, SimpleTokenizer(context_length=model.context_length), (), ())


def class_names(model: str, classes: int, slots: int) -> list[list[str]]:
    """Return names of classes, each of `slots` tokens with its end token."""
    # A name that fills the context stops rectification, not its estimate.
    words = min(slots - 1, clip(model).context_length - 3)
    return [[" ".join([WORD] * words)]] * classes


def rectifier(model: str, classes: int, settings: RectifySettings | None) -> Rectifier:
    """Return a rectifier; without settings it is the unrectified CLIP."""
    own = clip(model)
    texts, net, decoder = tensor(classes, own.embed_dim), None, None
    width = own.positional_embedding.shape[1]
    with torch.device("meta"):
        if settings and settings.model == "reclip++":
            net, decoder = PositionalTexts(width, own.embed_dim), Decoder(own.embed_dim, classes)
        elif settings and settings.positional:
            channels = classes if settings.positional_channels == "class" else 1
            net = PositionalNet(width, channels, settings.positional_hidden)
    reference = texts if settings and settings.reference else None
    return Rectifier(texts, reference, net, own.positional_embedding, own.grid, decoder=decoder)


def deeplab(backbone: str, arguments: str, dim: int) -> DeepLabV2:
    """Return DeepLabV2 without a head.

    arguments: the backbone's, as JSON, which can be cached.
    Raises ReclipError: timm has no such backbone.
    """
    with torch.device("meta"), torch.no_grad():
        return DeepLabV2(backbone, dim, backbone_args=json.loads(arguments)).eval()


def head(settings: DistillSettings, dim: int, classes: int, cells: int) -> SegmentationHead:
    """Return the student's head on a map of one row of `cells` cells."""
    texts = tensor(classes, dim)
    with torch.device("meta"):
        return SegmentationHead(
            settings.head, classes, dim, w_q=texts, w_r=texts, positional=tensor(1, 1, cells)
        )
