"""Count the FLOPs of the networks: the real modules run on PyTorch's meta device, without data.

FLOPs are 2 × multiply-adds of matrix products and convolutions, as FlopCounterMode counts them.
It does not count norms, activations, softmaxes and optimisers, which are below 1 %.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from reclip.clip.dense import dense_features
from reclip.clip.load import Clip
from reclip.clip.text import ReferenceEncoder, encode_tokens
from reclip.config.models import Attention, DistillSettings, RectifySettings
from reclip.cost import meta
from reclip.cost.machines import Work
from reclip.distill.deeplab import Student
from reclip.distill.losses import distillation_loss
from reclip.rectify.loss import contrastive_loss, gumbel_masks, masked_pool
from reclip.rectify.model import rectified_logits
from reclip.rectify.plus import Decoder


class Cost(NamedTuple):
    """Costs of a network."""

    forward: Work  # FLOPs of the forward pass alone
    train: Work  # FLOPs of forward and backward
    size: int = 0  # bytes of its weights


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


def train(run: Callable[[], Tensor]) -> Work:
    """Return the FLOPs of `run()` and of the backward pass from its output."""
    return count(lambda: run().sum().backward())


def _of_all_layers(model: str, tower: str, cost: Callable[[Clip], Work]) -> Work:
    """Return `cost` of CLIP from its costs with one and with two layers: all layers are equal."""
    layers = len(meta.clip(model).model.get_submodule(tower).resblocks)
    one, two = (cost(meta.clip(model, number)) for number in (1, 2))
    return (2 - layers) * one + (layers - 1) * two


@cache
def dense(
    model: str,
    cells: int,
    mlp: bool,
    with_global: bool = False,
    attention: Attention = "value",
) -> Work:
    """Return the FLOPs of `dense_features` on one image of `cells` patches."""

    def run(clip: Clip) -> Work:
        image = meta.tensor(1, 3, clip.patch_size, cells * clip.patch_size)
        return count(
            lambda: dense_features(
                clip, image, attention=attention, mlp=mlp, with_global=with_global
            )
        )

    return _of_all_layers(model, "visual.transformer", run)


@cache
def image_embedding(model: str) -> Work:
    """Return the FLOPs of CLIP itself on one image of its own size."""
    clip = meta.clip(model)
    side = clip.grid[0] * clip.patch_size
    return count(lambda: clip.model.encode_image(meta.tensor(1, 3, side, side)))


@cache
def text_embedding(model: str, tokens: int) -> Work:
    """Return the FLOPs of the text tower on one prompt of `tokens` tokens."""
    prompt, end = (meta.tensor(*shape).long() for shape in ((1, tokens), (1,)))
    return count(lambda: encode_tokens(meta.clip(model).model, prompt, end))


@cache
def reference(model: str, classes: int, slots: int, **settings: Any) -> Cost:
    """Return the FLOPs of a ReferenceEncoder with class names of `slots` tokens.

    slots: tokens of the longest class name, with its end token.
    settings: the other arguments of ReferenceEncoder.
    """
    names = meta.class_names(model, classes, slots)

    def run(kind: Callable[..., Work], clip: Clip) -> Work:
        return kind(ReferenceEncoder(clip, names, **settings))

    return Cost(*(_of_all_layers(model, "transformer", partial(run, k)) for k in (count, train)))


@cache
def rectifier(model: str, classes: int, settings: RectifySettings | None) -> Cost:
    """Return the costs of a rectifier for one cell; `settings` is None for the unrectified CLIP.

    Of its training this counts the positional logits alone, which a batch computes once.
    """
    clip, trained = meta.clip(model), meta.rectifier(model, classes, settings)
    forward, training = count(lambda: trained(meta.tensor(1, 1, 1, clip.embed_dim))), Work()
    if trained.positional is not None:
        # In eval mode, as batch statistics need more than one cell.
        learner = copy.deepcopy(trained).requires_grad_()
        if learner.decoder is not None:
            learner.w_reference.requires_grad_()  # it meets the position
        training = train(lambda: learner.positional_logits((1, 1)))
    return Cost(forward, training, meta.size_of(trained))


@cache
def positional(model: str, classes: int, settings: RectifySettings) -> Work:
    """Return the FLOPs of a rectifier's positional logits at one cell."""
    return count(lambda: meta.rectifier(model, classes, settings).positional_logits((1, 1)))


def rectify_image(
    dim: int, classes: int, cells: int, head_learns: bool, decoded: bool = False
) -> Work:
    """Return the FLOPs of logits, masked pooling and loss of one image, forward and backward.

    head_learns: the texts that segment have a gradient, not the positional logits alone.
    decoded: by ReCLIP++'s decoder, which learns.
    """
    z, texts = meta.tensor(1, 1, cells, dim), meta.tensor(classes, dim)
    head = meta.tensor(classes, dim, learns=head_learns)
    m_p = meta.tensor(1, cells, classes, learns=True)
    with torch.device("meta"):
        decoder = Decoder(dim, classes) if decoded else None

    def run() -> Tensor:
        logits = rectified_logits(z, texts, head, m_p, "subtract")
        if decoder is not None:
            logits = decoder(z, logits)
        masks = gumbel_masks(logits.flatten(1, 2))
        pooled = masked_pool(masks, z.flatten(1, 2))
        return contrastive_loss(pooled, texts, meta.tensor(1, classes) > 0)

    return train(run)


@cache
def student(backbone: str, arguments: str, dim: int, crop: int) -> Cost:
    """Return the costs of DeepLabV2 without its head, on a view of `crop`² pixels.

    arguments: the backbone's, as JSON, which can be cached.
    Raises ReclipError: timm has no such backbone.
    """
    image = meta.tensor(1, 3, crop, crop)
    with torch.device("meta"), torch.no_grad():
        net = meta.deeplab(backbone, arguments, dim)
        first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
        forward, of_image = count(lambda: net(image)), count(lambda: first(image))
    # Backward is two products for each one of forward, but the image has no gradient.
    return Cost(forward, 3 * forward + -1 * of_image, meta.size_of(net))


def distill_image(settings: DistillSettings, dim: int, classes: int, cells: int) -> Work:
    """Return the FLOPs of head and losses on one image's feature, forward and backward."""
    feature, texts = meta.tensor(1, dim, 1, cells, learns=True), meta.tensor(classes, dim)
    head = meta.head(settings, dim, classes, cells)

    def run() -> Tensor:
        logits, unit = Student(nn.Identity(), head)(feature)
        labels, hypotheses = meta.tensor(1, 1, cells), meta.tensor(1, classes) > 0
        z = feature.detach()
        terms = distillation_loss(logits, unit, labels, z, texts, hypotheses, settings, 1.0)
        return sum(terms.values())

    return train(run)
