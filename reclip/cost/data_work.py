"""The work of the stages from the archive to the hypotheses."""

from __future__ import annotations

import math

from reclip.cost import flops
from reclip.cost.known import Known, label_map
from reclip.cost.work import Work
from reclip.data.layouts.layout import SPLITS

TEMPLATES = {"single": 1, "imagenet": 80, "reclip": 85}
PROMPT_TOKENS = 9  # start and end token among them: the mean over VOC's names and 85 templates
TEXTS_A_BATCH = 256
SCENE_BYTES_A_PIXEL = 2.6  # of a drawn scene's photo
TOKENS_A_BATCH = 4096  # as in cache-features
LINE_BYTES = 30  # of a hypothesis: an id and a few classes


def fetch(known: Known, dataset: str) -> Work:
    """Disk alone: how long a download takes nobody knows."""
    return Work(written=known.census[dataset].fetched)


def prepare(known: Known, dataset: str) -> Work:
    census, total = known.census[dataset], Work()
    for split in SPLITS:
        for (height, width), photos in census.sizes[split].items():
            drawn = SCENE_BYTES_A_PIXEL * height * width if census.drawn else 0
            total += photos * (label_map(height * width) + Work(written=drawn))
    return total


def embed_text(known: Known, dataset: str) -> Work:
    census = known.census[dataset]
    texts = census.names * TEMPLATES[known.plan.experiment.section(dataset, "prompts").templates]
    return Work(
        matmul=texts * flops.text_embedding(known.clip, PROMPT_TOKENS),
        calls=math.ceil(texts / TEXTS_A_BATCH),
        written=4 * census.classes * known.clip.dim,
    )


def cache_features(known: Known, dataset: str) -> Work:
    image, views = known.plan.experiment.section(dataset, "image"), known.views(dataset)
    centre = known.plan.experiment.section(dataset, "hypotheses").image == "centre_crop"
    shared = not centre and image.protocol == "whole"  # one pass gives both kinds of feature
    total = Work()
    for split in SPLITS:
        for photos in known.photos(dataset, split):
            pixels = math.prod(photos.read) / 1e6
            one = Work(megapixels=pixels, written=4 * known.clip.dim)
            for window in photos.windows:
                cells = known.cells(window.height, window.width)
                one += _features(known, cells, shared) + Work(written=cells * known.token)
            if centre:
                one += Work(matmul=flops.image_embedding(known.clip), calls=1, megapixels=pixels)
            elif not shared:
                one += _features(known, known.cells(*photos.read), with_global=True)
                one += Work(megapixels=pixels)
            total += photos.number * one
    cells = known.view_cells(dataset)
    view = _features(known, cells) + Work(
        megapixels=known.view_pixels(dataset), written=cells * known.token + 4
    )
    return total + views.count * known.census[dataset].photos("train") * view


def _features(known: Known, cells: int, with_global: bool = False) -> Work:
    return Work(
        matmul=flops.dense_features(known.clip, cells, known.plan.experiment.clip.mlp, with_global),
        calls=1 / max(1, TOKENS_A_BATCH // cells),
    )


def hypothesise(known: Known, dataset: str) -> Work:
    census = known.census[dataset]
    photos = sum(census.photos(split) for split in SPLITS)
    return Work(
        matmul=flops.linear(photos, known.clip.dim, census.classes),
        read=4 * photos * known.clip.dim,
        written=LINE_BYTES * photos,
    )
