"""Measure the peak memory of the networks, losses and maps of a job on the meta device."""

from __future__ import annotations

import json
import math
from functools import cache, partial

import torch

from reclip.clip.dense import dense_features
from reclip.clip.text import encode_tokens
from reclip.config.models import (
    Attention,
    DistillSettings,
    ImageSettings,
    RectifySettings,
    RefinementSettings,
)
from reclip.cost import meta
from reclip.cost.peak import live_tensors, peak
from reclip.cost.stage_work import TEXTS_A_BATCH
from reclip.data.reading import Frame, Piece, windows
from reclip.distill.deeplab import Student
from reclip.distill.losses import distillation_loss, mask_loss
from reclip.rectify.class_map import class_map
from reclip.rectify.learn import Batch, build_model, losses, noise_of
from reclip.rectify.model import BiasModel
from reclip.rectify.refine import Refiner
from reclip.training.share import Share

PROMPT_TOKENS = 24  # of the longest of a batch of prompts


@cache
def texts(model: str) -> int:
    clip = meta.clip(model, 2)  # a pass without gradients frees each layer
    prompt = meta.tensor(TEXTS_A_BATCH, min(PROMPT_TOKENS, clip.context_length)).long()
    with torch.no_grad():
        return peak(lambda: encode_tokens(clip.model, prompt, prompt[:, 0]))


@cache
def features(model: str, attention: Attention, batch: int, height: int, width: int) -> int:
    clip, images = meta.clip(model, 2), meta.tensor(batch, 3, height, width)
    with torch.no_grad():
        return images.nbytes + peak(
            lambda: dense_features(clip, images, attention=attention, with_global=True)
        )


@cache
def rectify(
    model: str, classes: int, slots: int, side: int, settings: RectifySettings
) -> tuple[int, int]:
    """Return the peak of a step and the bytes of what learns."""
    names = meta.class_names(model, classes, slots)
    layers = len(meta.clip(model).model.transformer.resblocks)
    peaks = []
    for clip in (meta.clip(model, number) for number in (1, 2)):
        with torch.device("meta"):
            query = meta.tensor(classes, clip.embed_dim)
            learner = build_model(clip, names, query, settings).train()
        peaks.append(peak(partial(_rectify_step, learner, settings, classes, side)))
    learned = sum(p.nbytes for p in learner.parameters() if p.requires_grad)
    # Each layer keeps as much for its backward pass.
    return peaks[0] + (layers - 1) * (peaks[1] - peaks[0]), learned


def _rectify_step(learner: BiasModel, settings: RectifySettings, classes: int, side: int) -> None:
    images = settings.batch
    z = meta.tensor(images, side, side, learner.w_query.shape[1])
    batch = Batch(z, meta.tensor(*z.shape[:3]) > 0, meta.tensor(images, classes) > 0)
    share = Share(images, noise=meta.tensor(images, *noise_of(batch)))
    sum(losses(learner, batch, share, settings).values()).backward()


@cache
def _deeplab_step(
    backbone: str, arguments: str, dim: int, crop: int, batch: int
) -> tuple[int, int, int]:
    """Return what DeepLabV2 keeps for its backward pass, its peak, and its feature's cells."""
    net = meta.deeplab(backbone, arguments, dim).train().requires_grad_()
    with live_tensors() as live:
        feature = net(meta.tensor(batch, 3, crop, crop))
        kept = live.now
        feature.backward(meta.tensor(*feature.shape))
    return kept, live.peak, feature.shape[-1]


def distill_step(settings: DistillSettings, dim: int, classes: int, crop: int, patches: int) -> int:
    """Return the peak of a step, with the gradients of all weights.

    It is in the losses, or in the backward pass through the backbone.
    """
    batch, side = settings.batch, math.isqrt(patches)
    kept, most, cells = _deeplab_step(
        settings.backbone, json.dumps(settings.backbone_args), dim, crop, batch
    )
    head = meta.head(settings, dim, classes, cells)
    feature = meta.tensor(batch, dim, cells, cells, learns=True)

    def step() -> None:
        labels, wanted = meta.tensor(batch, crop, crop).long(), meta.tensor(batch, classes) > 0
        z, texts = meta.tensor(batch, dim, side, side), meta.tensor(classes, dim)
        logits, unit = Student(torch.nn.Identity(), head)(feature)
        share = Share(batch, noise=meta.tensor(batch, cells**2, classes))
        terms = distillation_loss(logits, unit, labels, z, texts, wanted, settings, 1.0, share)
        sum(terms.values()).backward()

    return max(most, kept + peak(step))


@cache
def probe(backbone: str, arguments: str, dim: int, classes: int, crop: int, batch: int) -> int:
    """Return the peak of a step of the linear classifier on a frozen student."""
    net = meta.deeplab(backbone, arguments, dim).requires_grad_(False)
    classifier = torch.nn.Conv2d(dim, classes, 1, device="meta")

    def step() -> None:
        labels = meta.tensor(batch, crop, crop).long()
        unit = torch.nn.functional.normalize(net(meta.tensor(batch, 3, crop, crop)), dim=1)
        mask_loss(classifier(unit), labels).backward()

    return peak(step)


@cache
def student(backbone: str, arguments: str, dim: int, height: int, width: int) -> int:
    net = meta.deeplab(backbone, arguments, dim)
    with torch.no_grad():
        return peak(lambda: net(meta.tensor(1, 3, height, width)))


@cache
def decoded(model: str, classes: int, settings: RectifySettings, grid: tuple[int, int]) -> int:
    """Return the peak of the logits of a window by ReCLIP++, which reads its features again."""
    trained = meta.rectifier(model, classes, settings)
    z = meta.tensor(1, *grid, trained.w_query.shape[1])
    with torch.no_grad():
        return z.nbytes + peak(lambda: trained(z))


@cache
def class_map_of(
    classes: int,
    side: int,
    size: tuple[int, int],
    read: tuple[int, int],
    image: ImageSettings,
    refinement: RefinementSettings,
) -> int:
    """Return the peak of making a label map of a photo's `size` from logits of its windows."""

    def run() -> None:
        pieces = [
            Piece(window, meta.tensor(classes, *grid_of_cells(window[2:], side)))
            for window in windows(read, image)
        ]
        refine = [Refiner(meta.tensor(3, *size), refinement)] if refinement.pamr else []
        class_map(pieces, Frame(side, read, size, image.overhang), *refine)

    with torch.no_grad():
        return peak(run)


def grid_of_cells(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return rows and columns of cells of `side`² pixels that cover a size."""
    return -(-size[0] // side), -(-size[1] // side)
