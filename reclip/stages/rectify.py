"""Stage `rectify`: learn the bias of CLIP on cached features, without labels (paper Sec. 3.4)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.clip.load import Clip, load_clip
from reclip.clip.text import ReferenceEncoder
from reclip.common.files import atomic
from reclip.config.models import RectifySettings
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.pipeline.artifacts import curve_file
from reclip.pipeline.job import Job
from reclip.rectify.hypotheses import read_hypotheses
from reclip.rectify.loss import contrastive_loss, gumbel_masks, masked_pool
from reclip.rectify.model import BiasModel, PositionalNet, Rectifier
from reclip.stages.seeds import each_seed
from reclip.training.checkpoint import Checkpoint
from reclip.training.loop import train


def main(job: Job) -> None:
    """Write `seed-<s>.safetensors` (a Rectifier) and its curve for every seed of the run."""
    settings = job.settings["rectify"]
    device = setup(job.settings["compute"])
    clip = load_clip(job.settings["clip"], device)
    classes = DataSet(job.inputs["data"].folder).class_names
    features = FeatureCache(job.inputs["features"].folder)
    w_query = Rectifier.load(job.inputs["text"].folder / "query.safetensors", device).w_query
    ids = [entry["id"] for entry in features.images("train")]
    found = read_hypotheses(job.inputs["hypotheses"].folder / "train.csv", ids, len(classes))

    def train_one(seed: int, path: Path, checkpoint: Checkpoint) -> None:
        model = build_model(clip, classes, w_query, settings).to(device)
        noise = torch.Generator(device).manual_seed(seed)
        train(
            model,
            lambda epoch, rows: load(features, found, epoch, rows),
            lambda batch: losses(model, batch, settings, noise),
            settings,
            count=len(found),
            seed=seed,
            generators={"noise": noise},
            checkpoint=checkpoint,
            curve=curve_file(job.folder, seed),
            label=f"rectify {job.id}, seed {seed}",
            loaders=job.settings["compute"].loaders,
        )
        with atomic(path) as partial:
            model.freeze().save(partial)

    each_seed(job, train_one)


def build_model(
    clip: Clip, classes: list[list[str]], w_query: torch.Tensor, settings: RectifySettings
) -> BiasModel:
    """The bias model that the settings describe, around the frozen text tower."""

    reference = query = None
    if settings.reference:
        reference = ReferenceEncoder(clip, classes, settings.prompt_length, settings.class_slots)
    if settings.learn_query:
        query = ReferenceEncoder(clip, classes, words=settings.query_words)
    positional = None
    if settings.positional:
        channels = len(classes) if settings.positional_channels == "class" else 1
        width = clip.positional_embedding.shape[1]
        positional = PositionalNet(
            width,
            channels,
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
        reference_norm=settings.normalise_reference,
        combine=settings.combine,
    )


class Batch(NamedTuple):
    """Features (B, h, w, D) of a view, where they hold image (B, h, w), hypotheses (B, C)."""

    z: torch.Tensor
    valid: torch.Tensor
    hypotheses: torch.Tensor


def load(features: FeatureCache, hypotheses: torch.Tensor, epoch: int, rows: np.ndarray) -> Batch:
    """Some training images in the epoch's view."""
    z, valid = features.view_batch(epoch % len(features.views), rows)
    return Batch(z, valid, hypotheses[rows])


def losses(
    model: BiasModel, batch: Batch, settings: RectifySettings, noise: torch.Generator
) -> dict[str, torch.Tensor]:
    """The contrastive loss (Eq. 5) of a batch.

    Masked features are aligned with the manual Query texts (Sec. 3.4), also where the Query that
    segments is learned: aligned with that one, texts and masks would agree on anything.
    """
    z, valid, wanted = (t.to(noise.device) for t in batch)
    valid = None if settings.padding == "counted" else valid.flatten(1)
    logits = model(z, model.heads()).flatten(1, 2)
    masks = gumbel_masks(logits, settings.gumbel_scale, settings.gumbel_tau, noise)
    pooled = masked_pool(masks, z.flatten(1, 2), valid, settings.pool_over)
    return {"contrastive": contrastive_loss(pooled, model.w_query, wanted, settings.tau)}
