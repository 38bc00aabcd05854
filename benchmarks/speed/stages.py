"""The stages that are measured: what reclip runs, its plain version, and what it needs at least.

`ours` of a stage is the one place that calls reclip for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import normalize

from reclip.clip.extract import TOKENS_A_BATCH, Extractor
from reclip.clip.prompts import templates
from reclip.clip.text import query_embeddings
from reclip.config.models import ClipSettings, EvaluateSettings, RefinementSettings
from reclip.cost import flops
from reclip.cost.machines import Work
from reclip.data.images import read_image
from reclip.data.reading import Frame, Window, whole_size
from reclip.data.views import crop_image, normalise
from reclip.evaluate.counts import Counts
from reclip.rectify.class_map import class_map
from reclip.rectify.predict import rectified_logits
from speed import plain
from speed.case import Case, Result
from speed.inputs import Inputs
from speed.limits import FLOATS, Need, Precision, decoding
from speed.trainings import (
    distillation_grid,
    distillation_image,
    rectification,
    rectification_compiled,
    reference_encoder,
)

TEMPLATES = 10
"""Prompts of a class in the measurement; the official code has 85, whose time is in proportion."""
FLOAT = 4  # bytes


def read_photos(inputs: Inputs) -> Case:
    """Decode, resize, cut, recolour and normalise a view, on one core."""

    def ours(number: int, precision: Precision) -> Result:
        return [
            normalise(crop_image(read_image(inputs.file), inputs.view(i)), "clip")
            for i in range(number)
        ]

    def obvious(number: int) -> Result:
        return [plain.read_view(inputs.file, inputs.view(i), "clip") for i in range(number)]

    probes = {"decoded": decoding(inputs.file)}
    views = 8
    pixels = sum(math.prod(inputs.view(i).size) for i in range(views)) / views
    return Case(
        "view", obvious, ours, Need(decoded=1), views, views, ("integer",), 0.0, probes,
        Work(megapixels=pixels / 1e6),
    )  # fmt: skip


def dense_features(inputs: Inputs) -> Case:
    """CLIP's dense features of views, as the stage caches them."""
    clip, images = inputs.clip, inputs.views
    settings = ClipSettings(model=inputs.size.model)
    step = max(1, TOKENS_A_BATCH // inputs.side**2)

    def ours(number: int, precision: Precision) -> Result:
        extract, found = Extractor(inputs.clip_in(precision), settings, loaders=0), []
        for start in range(0, number, step):
            some = list(images[start : min(start + step, number)])
            found.append(extract(some, ["photo"] * len(some))[0])
        return [np.concatenate(found)]

    @torch.inference_mode()
    def obvious(number: int) -> Result:
        return [torch.stack([plain.dense_features(clip, image) for image in images[:number]]).cpu()]

    work = flops.dense(inputs.size.model, inputs.side**2, mlp=True)
    return Case("view", obvious, ours, Need.of(work), 1, inputs.many, FLOATS, work=work)


def text_queries(inputs: Inputs) -> Case:
    """Query embeddings of classes."""
    every = templates("reclip")
    wordings = every[:: len(every) // TEMPLATES][:TEMPLATES]
    classes = inputs.size.classes
    many = len(classes) if inputs.device.type != "cpu" else min(4, len(classes))
    encode = inputs.clip.tokenizer.encode

    def ours(number: int, precision: Precision) -> Result:
        with torch.inference_mode():
            return [query_embeddings(inputs.clip, classes[:number], wordings)]

    def obvious(number: int) -> Result:
        with torch.inference_mode():
            return [plain.query_embeddings(inputs.clip, inputs.names[:number], wordings)]

    lengths = [len(encode(w.format(names[0]))) + 2 for w in wordings for names in classes[:many]]
    work = sum((flops.text_embedding(inputs.size.model, n) for n in lengths), Work())
    return Case("class", obvious, ours, Need.of(1 / many * work), 1, many)


def class_maps(inputs: Inputs) -> Case:
    """The class map of a photo from rectified logits: pseudo masks and predictions."""
    model, size = inputs.bias.freeze(), inputs.size.photo
    read = whole_size(*size, inputs.image)
    patch = inputs.clip.patch_size
    grid = [-(-side // patch) for side in read]
    z = normalize(inputs.random(*grid, inputs.clip.embed_dim), dim=-1)
    with torch.inference_mode():
        pieces = rectified_logits(model, [(Window(0, 0, *read), z)], RefinementSettings())

    @torch.inference_mode()
    def ours(number: int, precision: Precision) -> Result:
        return [class_map(pieces, Frame(patch, read, size)).cpu() for _ in range(number)]

    @torch.inference_mode()
    def obvious(number: int) -> Result:
        logits = pieces[0].logits
        return [plain.class_map(logits, patch, read, size).short().cpu() for _ in range(number)]

    values = inputs.classes * (math.prod(read) + math.prod(size))
    return Case(
        "photo", obvious, ours, Need(copied=2 * FLOAT * values), 2, 2,
        tolerance=1e-3, work=Work(resized=values),
    )  # fmt: skip


def evaluation(inputs: Inputs) -> Case:
    """All counts of an evaluation: confusion, objects by distance, rings."""
    height, width = inputs.size.photo
    labels = inputs.labels(height, width)
    predicted = torch.roll(labels, (9, 14), (1, 2)).to(torch.int16) % inputs.classes
    predicted = predicted.to(inputs.device)
    bins = EvaluateSettings().distance_bins

    def ours(number: int, precision: Precision) -> Result:
        counts = Counts(inputs.classes, bins)
        for pred, label in zip(predicted[:number], labels[:number].numpy(), strict=True):
            counts.update(pred, label)
        found = counts.distances
        objects = found.counts, found._intersection, found._union
        return [counts.confusion, *objects, counts.rings]

    def obvious(number: int) -> Result:
        pairs = predicted[:number].cpu().numpy(), labels[:number].numpy()
        return plain.counts(*map(list, pairs), inputs.classes, bins)

    need = Need(copied=3.0 * height * width)  # each map read once: int16 and uint8
    return Case("photo", obvious, ours, need, 1, 4, ("integer",), tolerance=0.0)


STAGES: dict[str, Callable[[Inputs], Case]] = {
    "read-photos": read_photos,
    "dense-features": dense_features,
    "text-queries": text_queries,
    "reference-encoder": reference_encoder,
    "rectification": rectification,
    "rectification-compiled": rectification_compiled,
    "class-map": class_maps,
    "distillation-image": distillation_image,
    "distillation-grid": distillation_grid,
    "evaluation": evaluation,
}
