"""Learn the bias: the model that the settings describe, its batches and its loss (Sec. 3.4)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.clip.load import Clip
from reclip.clip.text import ReferenceEncoder
from reclip.config.models import RectifySettings
from reclip.rectify.loss import contrastive_loss, gumbel_masks, masked_pool
from reclip.rectify.model import BiasModel, PositionalNet
from reclip.rectify.plus import Decoder, PositionalTexts
from reclip.training.share import Share


def build_model(
    clip: Clip, classes: list[list[str]], w_query: torch.Tensor, settings: RectifySettings
) -> BiasModel:
    """Return the bias model that the settings describe, for Query embeddings (C, D)."""
    reference = query = positional = decoder = None
    if settings.reference:
        reference = ReferenceEncoder(clip, classes, settings.prompt_length, settings.class_slots)
    if settings.learn_query:
        query = ReferenceEncoder(clip, classes, words=settings.query_words)
    width = clip.positional_embedding.shape[1]
    if settings.model == "reclip++":
        positional = PositionalTexts(width, clip.embed_dim)
        decoder = Decoder(clip.embed_dim, len(classes))
    elif settings.positional:
        positional = PositionalNet(
            width,
            len(classes) if settings.positional_channels == "class" else 1,
            settings.positional_hidden,
            settings.positional_final_relu,
            settings.positional_init,
        )
    return BiasModel(
        w_query,
        clip.positional_embedding,
        clip.grid,
        reference=reference,
        query=query,
        positional=positional,
        decoder=decoder,
        reference_norm=settings.normalise_reference,
        combine=settings.combine,
    )


class Batch(NamedTuple):
    """A batch of one view."""

    z: torch.Tensor  # features (B, h, w, D)
    valid: torch.Tensor  # bool (B, h, w), False for padding
    hypotheses: torch.Tensor  # bool (B, C)


def load(features: FeatureCache, hypotheses: torch.Tensor, epoch: int, rows: np.ndarray) -> Batch:
    """Return the training images `rows` in the view of the epoch."""
    z, valid = features.view_batch(epoch % features.view_count, rows)
    return Batch(z, valid, hypotheses[rows])


def noise_of(batch: Batch) -> tuple[int, int]:
    """Return the shape of an image's noise: cells and classes."""
    return math.prod(batch.valid.shape[1:]), batch.hypotheses.shape[1]


def losses(
    model: BiasModel, batch: Batch, share: Share, settings: RectifySettings
) -> dict[str, torch.Tensor]:
    """Return the contrastive loss (Eq. 5) of a share of a batch.

    Masked features are compared with the fixed Query (Sec. 3.4), even if a learned Query segments.
    With the learned one, texts and masks could agree on anything.
    """
    z, valid, wanted = batch
    valid = None if settings.padding == "counted" else valid.flatten(1)
    logits = model(z).flatten(1, 2)
    masks = gumbel_masks(logits, settings.gumbel_scale, settings.gumbel_tau, share.noise)
    pooled = masked_pool(masks, z.flatten(1, 2), valid, settings.pool_over)
    loss = contrastive_loss(pooled, model.w_query, wanted, settings.tau, share.images)
    return {"contrastive": loss}
