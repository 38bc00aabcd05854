"""Count the FLOPs of the networks: the real modules run on PyTorch's meta device, without data.

FLOPs are 2 × multiply-adds of matrix products and convolutions, as FlopCounterMode counts them.
It does not count norms, activations, softmaxes and optimisers, which are below 1 %.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from reclip.clip.architecture import architecture
from reclip.clip.dense import dense_features
from reclip.clip.load import Clip
from reclip.clip.text import ReferenceEncoder, encode_tokens
from reclip.config.models import ClipSettings, DistillSettings, RectifySettings
from reclip.cost.work import Work
from reclip.distill import OUTPUT_STRIDE
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.distill.losses import distillation_loss
from reclip.rectify.loss import contrastive_loss, gumbel_masks, masked_pool
from reclip.rectify.model import PositionalNet, Rectifier, rectified_logits

WORD = "cat"  # one token of CLIP's vocabulary


class Passes(NamedTuple):
    """FLOPs of a network: of the forward pass alone, and of forward and backward (`train`)."""

    forward: Work
    train: Work


def count(run: Callable[[], object]) -> Work:
    """Return the FLOPs of `run()`, matrix products and convolutions apart."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # PyTorch cannot count fused attention
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    by_operator = counter.get_flop_counts().get("Global", {}).items()
    conv = sum(flops for operator, flops in by_operator if "convolution" in str(operator))
    return Work(matmul=counter.get_total_flops() - conv, conv=conv)


def passes(run: Callable[[], Tensor]) -> Passes:
    """Return the FLOPs of `run()`, and of `run()` with the backward pass from its output."""
    outputs: list[Tensor] = []
    forward = count(lambda: outputs.append(run().sum()))
    return Passes(forward, forward + count(outputs[0].backward))


def linear(rows: float, inputs: int, outputs: int) -> float:
    """Return the FLOPs of `rows` vectors times one matrix, which need no counter."""
    return 2.0 * rows * inputs * outputs


def _bytes_of(module: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in module.state_dict().values())


def _meta(*shape: int, learns: bool = False) -> Tensor:
    return torch.empty(shape, device="meta", requires_grad=learns)


@lru_cache
def meta_clip(name: str) -> Clip:
    """Return the CLIP model `name` without weights.

    Raises ReclipError: there is no such model, or it is not a plain ViT.
    """
    with torch.device("meta"):
        model = CLIP(**architecture(ClipSettings(model=name), (), None)[0])
    return Clip(model, SimpleTokenizer(context_length=model.context_length), (), ())


@lru_cache
def dense(model: str, cells: int, mlp: bool, with_global: bool = False) -> Work:
    """Return the FLOPs of `dense_features` on one image of `cells` patches.

    Photos have hundreds of sizes. FLOPs are a polynomial of degree 2 in the number of patches, so
    counts at three sizes give all others exactly.
    """
    one, two, three = (_dense(model, n, mlp, with_global) for n in (1, 2, 3))
    slope, bend = two + -1 * one, one + -2 * two + three
    return one + (cells - 1) * slope + (cells - 1) * (cells - 2) / 2 * bend


@lru_cache
def _dense(model: str, cells: int, mlp: bool, with_global: bool) -> Work:
    clip = meta_clip(model)
    image = _meta(1, 3, clip.patch_size, cells * clip.patch_size)
    return count(lambda: dense_features(clip, image, mlp=mlp, with_global=with_global))


@lru_cache
def image_embedding(model: str) -> Work:
    """Return the FLOPs of CLIP itself on one image of its own size."""
    clip = meta_clip(model)
    side = clip.grid[0] * clip.patch_size
    return count(lambda: clip.model.encode_image(_meta(1, 3, side, side)))


@lru_cache
def text_embedding(model: str, tokens: int) -> Work:
    """Return the FLOPs of the text tower on one prompt of `tokens` tokens."""
    prompt, end = torch.zeros(1, tokens, dtype=torch.long), torch.tensor([tokens - 1])
    clip = meta_clip(model)
    return count(lambda: encode_tokens(clip.model, prompt.to("meta"), end.to("meta")))


@lru_cache
def reference(model: str, classes: int, slots: int, **settings: Any) -> Passes:
    """Return the FLOPs of a ReferenceEncoder with class names of `slots` tokens.

    slots: tokens of the longest class name, with its end token.
    settings: the other arguments of ReferenceEncoder.
    """
    clip = meta_clip(model)
    words = min(slots - 1, clip.context_length - 3)  # `slots` may be an estimate that is too high
    names = [[" ".join([WORD] * words)]] * classes
    return passes(ReferenceEncoder(clip, names, **settings))


class RectifierCost(NamedTuple):
    """A rectified CLIP, or the unrectified one: FLOPs for one cell, and its size in bytes.

    Attributes:
        forward: logits of one cell.
        train_positional: a training step of the positional net, for one cell.
    """

    forward: Work
    train_positional: Work
    size: int


@lru_cache
def rectifier(model: str, classes: int, settings: RectifySettings | None) -> RectifierCost:
    """Return the costs of a rectifier; `settings` is None for the unrectified CLIP."""
    clip = meta_clip(model)
    width, texts, net = clip.positional_embedding.shape[1], _meta(classes, clip.embed_dim), None
    if settings and settings.positional:
        channels = classes if settings.positional_channels == "class" else 1
        # In eval mode, as batch statistics need more than one cell.
        net = PositionalNet(width, channels, settings.positional_hidden).to("meta").eval()
    w_reference = texts if settings and settings.reference else None
    trained = Rectifier(texts, w_reference, net, clip.positional_embedding, clip.grid)
    return RectifierCost(
        count(lambda: trained(_meta(1, 1, 1, clip.embed_dim))),
        passes(lambda: net(_meta(1, width, 1, 1))).train if net else Work(),
        _bytes_of(trained),
    )


def rectify_image(dim: int, classes: int, cells: int, head_learns: bool) -> Work:
    """Return the FLOPs of logits, masked pooling and loss of one image, forward and backward.

    head_learns: the texts that segment have a gradient, not the positional logits alone.
    """
    z, texts = _meta(1, 1, cells, dim), _meta(classes, dim)
    head, m_p = _meta(classes, dim, learns=head_learns), _meta(1, cells, classes, learns=True)

    def run() -> Tensor:
        masks = gumbel_masks(rectified_logits(z, texts, head, m_p, "subtract").flatten(1, 2))
        pooled = masked_pool(masks, z.flatten(1, 2))
        return contrastive_loss(pooled, texts, _meta(1, classes) > 0)

    return passes(run).train


class StudentCost(NamedTuple):
    """DeepLabV2 without its head: FLOPs for one training view, and size of its weights in bytes.

    cells: cells of the view's feature.
    """

    forward: Work
    train: Work
    size: int
    cells: int


def student(backbone: str, arguments: Mapping[str, Any], dim: int, crop: int) -> StudentCost:
    """Return the costs of a student on a view of `crop`² pixels.

    Raises ReclipError: timm has no such backbone.
    """
    return _student(backbone, json.dumps(arguments, sort_keys=True), dim, crop)


@lru_cache
def _student(backbone: str, arguments: str, dim: int, crop: int) -> StudentCost:
    with torch.device("meta"):
        net = DeepLabV2(backbone, dim, backbone_args=json.loads(arguments))
    cells = (-(-crop // OUTPUT_STRIDE)) ** 2
    return StudentCost(*passes(lambda: net(_meta(1, 3, crop, crop))), _bytes_of(net), cells)


def distill_image(settings: DistillSettings, dim: int, classes: int, cells: int) -> Work:
    """Return the FLOPs of head and losses on one image's feature, forward and backward."""
    feature, texts = _meta(1, dim, 1, cells, learns=True), _meta(classes, dim)
    with torch.device("meta"):
        head = SegmentationHead(
            settings.head, classes, dim, w_q=texts, w_r=texts, positional=_meta(1, 1, cells)
        )

    def run() -> Tensor:
        logits, unit = Student(nn.Identity(), head)(feature)
        labels, hypotheses = _meta(1, 1, cells), _meta(1, classes) > 0
        z = feature.detach()
        terms = distillation_loss(logits, unit, labels, z, texts, hypotheses, settings, 1.0)
        return sum(terms.values())

    return passes(run).train
