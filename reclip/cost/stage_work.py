"""Estimate the work of every stage from the settings and from the number and sizes of photos."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from reclip.config.models import DistillSettings, OptimiserSettings, ProbeSettings, ViewSettings
from reclip.cost import flops
from reclip.cost.census import Census, take_census
from reclip.cost.work import Work
from reclip.data.layouts.layout import SPLITS
from reclip.data.reading import whole_size, windows
from reclip.distill import OUTPUT_STRIDE
from reclip.distill.view_batches import MEMORY
from reclip.pipeline.plan import Plan

TEMPLATES = {"single": 1, "imagenet": 80, "reclip": 85}  # number of prompts
PROMPT_TOKENS = 9  # with start and end token: the mean over VOC's names and 85 templates
TEXTS_A_BATCH = 256
TOKENS_A_BATCH = 4096  # as in cache-features
FLOAT = 4  # bytes

# Bytes of outputs. VOC's and ADE's masks have 0.017 to 0.018 bytes a pixel beside the palette.
PNG_BYTES, PNG_BYTES_A_PIXEL = 900, 0.02
SCENE_BYTES_A_PIXEL = 2.6  # of a drawn photo
LINE_BYTES = 30  # of a hypothesis: an id and a few classes
CURVE_BYTES = 40  # of a line of a training curve
CARD_BYTES = 5000  # of a packaged model's files beside its weights
METRICS_BYTES = 1500  # of metrics and distances, for a seed, beside its confusion matrix


class Photos(NamedTuple):
    """Photos of one size (H, W): how many, the size when read, and the sizes of their windows."""

    number: int
    size: tuple[int, int]
    read: tuple[int, int]
    windows: list[tuple[int, int]]


class Facts:
    """A plan, its CLIP without weights, and the census of each of its datasets.

    Args:
        use_index: count the photos of datasets that are already prepared.
    """

    def __init__(self, plan: Plan, use_index: bool = True) -> None:
        self.plan = plan
        self.experiment = plan.experiment
        self.model = plan.experiment.clip.model
        clip = flops.meta_clip(self.model)
        self.dim, self.patch = clip.embed_dim, clip.patch_size
        self.token = self.dim * {"float16": 2, "float32": 4}[plan.experiment.clip.cache_dtype]
        self.census: dict[str, Census] = {
            dataset: take_census(plan, dataset, use_index) for dataset in plan.params.datasets
        }

    def dataset(self, run: str) -> str:
        return self.plan.params.runs[run].dataset

    def classes(self, run: str) -> int:
        return self.census[self.dataset(run)].classes

    def photos(self, dataset: str, split: str) -> Iterator[Photos]:
        settings = self.experiment.section(dataset, "image")
        for size, number in self.census[dataset].sizes[split].items():
            read = whole_size(*size, settings)
            pieces = [(window.height, window.width) for window in windows(read, settings)]
            yield Photos(number, size, read, pieces)

    def views(self, dataset: str) -> ViewSettings:
        return self.experiment.section(dataset, "views")

    def view_cells(self, dataset: str) -> int:
        crop = self.views(dataset).crop
        return cells((crop, crop), self.patch)

    def view_megapixels(self, dataset: str) -> float:
        """Return the mean size of the resized photos from which views are cut."""
        low, high = self.views(dataset).scale
        mean_square = (low * low + low * high + high * high) / 3
        pixels = sum(p.number * math.prod(p.read) for p in self.photos(dataset, "train"))
        return mean_square * pixels / self.census[dataset].photos("train") / 1e6

    def steps(self, dataset: str, settings: OptimiserSettings) -> tuple[int, int]:
        """Return (steps, images) of a training; an epoch's short last batch is a step too."""
        photos = self.census[dataset].photos("train")
        return settings.epochs * math.ceil(photos / settings.batch), settings.epochs * photos

    def student(self, run: str) -> flops.StudentCost:
        """Return the costs of a run's student, or of the student that a probe reads."""
        settings = self.experiment.distill(self.plan.params.runs[run].student or run)
        crop = self.views(self.dataset(run)).crop
        return flops.student(settings.backbone, settings.backbone_args, self.dim, crop)

    def student_bytes(self, run: str) -> float:
        return self.student(run).size + FLOAT * self.classes(run) * self.dim

    def rectifier(self, run: str) -> flops.RectifierCost:
        """Return the costs of a run's rectifier; for method query, of the unrectified CLIP."""
        rectified = self.plan.params.runs[run].method == "rectify"
        settings = self.experiment.rectify(run) if rectified else None
        return flops.rectifier(self.model, self.classes(run), settings)


def cells(size: tuple[int, int], side: int) -> int:
    """Return the number of cells of `side`² pixels that cover an image (H, W)."""
    return math.prod(-(-length // side) for length in size)


def fetch(facts: Facts, dataset: str) -> Work:
    """Return the disk space alone: the time of a download is unknown."""
    return Work(written=facts.census[dataset].fetched)


def prepare(facts: Facts, dataset: str) -> Work:
    census, total = facts.census[dataset], Work()
    for split in SPLITS:
        for (height, width), photos in census.sizes[split].items():
            drawn = SCENE_BYTES_A_PIXEL * height * width if census.drawn else 0
            total += photos * (_label_map(height * width) + Work(written=drawn))
    return total


def embed_text(facts: Facts, dataset: str) -> Work:
    census = facts.census[dataset]
    texts = census.names * TEMPLATES[facts.experiment.section(dataset, "prompts").templates]
    return texts * flops.text_embedding(facts.model, PROMPT_TOKENS) + Work(
        calls=math.ceil(texts / TEXTS_A_BATCH), written=FLOAT * census.classes * facts.dim
    )


def cache_features(facts: Facts, dataset: str) -> Work:
    image, views = facts.experiment.section(dataset, "image"), facts.views(dataset)
    centre = facts.experiment.section(dataset, "hypotheses").image == "centre_crop"
    shared = not centre and image.protocol == "whole"  # one pass gives both kinds of feature
    total = Work()
    for split in SPLITS:
        for photos in facts.photos(dataset, split):
            pixels = math.prod(photos.read) / 1e6
            one = Work(megapixels=pixels, written=FLOAT * facts.dim)
            for window in photos.windows:
                patches = cells(window, facts.patch)
                one += _features(facts, patches, shared) + Work(written=patches * facts.token)
            if centre:
                one += flops.image_embedding(facts.model) + Work(calls=1, megapixels=pixels)
            elif not shared:
                one += _features(facts, cells(photos.read, facts.patch), with_global=True)
                one += Work(megapixels=pixels)
            total += photos.number * one
    patches = facts.view_cells(dataset)
    view = _features(facts, patches) + Work(
        megapixels=facts.view_megapixels(dataset), written=patches * facts.token + 4
    )
    return total + views.count * facts.census[dataset].photos("train") * view


def hypothesise(facts: Facts, dataset: str) -> Work:
    census = facts.census[dataset]
    photos = sum(census.photos(split) for split in SPLITS)
    return Work(
        matmul=flops.linear(photos, facts.dim, census.classes),
        read=FLOAT * photos * facts.dim,
        written=LINE_BYTES * photos,
    )


def rectify(facts: Facts, run: str) -> Work:
    """Return the work of all seeds. Features are cached, so only CLIP's text tower runs."""
    dataset, settings = facts.dataset(run), facts.experiment.rectify(run)
    census, patches, model = facts.census[dataset], facts.view_cells(dataset), facts.rectifier(run)
    step, kept = patches * model.train_positional, Work(written=model.size)
    encoders = []
    if settings.reference:
        encoders.append({"length": settings.prompt_length, "class_slots": settings.class_slots})
    if settings.learn_query:
        encoders.append({"words": settings.query_words})
    for encoder in encoders:
        text = flops.reference(facts.model, census.classes, census.slots, **encoder)
        step += text.train
        kept += text.forward
    image = flops.rectify_image(facts.dim, census.classes, patches, bool(encoders))
    return _training(facts, run, settings, step, image + Work(read=patches * facts.token), kept)


def pseudo_mask(facts: Facts, run: str) -> Work:
    """Return the work of one mask for each training photo and each teacher that has a student."""
    total = Work()
    for photos in facts.photos(facts.dataset(run), "train"):
        mask = _by_rectifier(facts, run, photos) + _label_map(math.prod(photos.size))
        total += photos.number * mask
    return len(facts.experiment.taught_seeds(run) or (None,)) * total


def distill(facts: Facts, run: str) -> Work:
    dataset, settings = facts.dataset(run), facts.experiment.distill(run)
    classes, student = facts.classes(run), facts.student(run)
    crop = facts.views(dataset).crop
    resized = 2 * classes * crop**2  # by the mask loss, forward and backward
    if settings.alpha and settings.feature_resolution == "grid":
        resized += facts.dim * student.cells  # the teacher's features
    elif settings.alpha:
        resized += (2 if settings.detach_feature else 3) * facts.dim * crop**2
    image = student.train + flops.distill_image(settings, facts.dim, classes, student.cells)
    image += Work(resized=resized, read=facts.view_cells(dataset) * facts.token)
    return _training_on_views(facts, run, settings, image)


def probe(facts: Facts, run: str) -> Work:
    """Return the work of all seeds. The student only predicts; one 1×1 convolution learns."""
    settings = facts.experiment.run_section(run, "probe")
    classes, student = facts.classes(run), facts.student(run)
    image = student.forward + Work(
        conv=2 * flops.linear(student.cells, facts.dim, classes),
        resized=2 * classes * facts.views(facts.dataset(run)).crop ** 2,
    )
    return _training_on_views(facts, run, settings, image)


def evaluate(facts: Facts, run: str) -> Work:
    total = Work(written=8 * facts.classes(run) ** 2 + METRICS_BYTES)
    by_student = facts.plan.params.runs[run].method in ("distill", "probe")
    predict = _by_student if by_student else _by_rectifier
    for photos in facts.photos(facts.dataset(run), "val"):
        truth = Work(megapixels=math.prod(photos.size) / 1e6)
        total += photos.number * (predict(facts, run, photos) + truth)
    return len(facts.experiment.seeds(run) or (None,)) * total


def package(facts: Facts, run: str) -> Work:
    """Return the disk space of one seed's weights, copied, and a model card."""
    rectified = facts.plan.params.runs[run].method == "rectify"
    weights = facts.rectifier(run).size if rectified else facts.student_bytes(run)
    return Work(written=weights + CARD_BYTES)


WORK_OF: dict[str, Callable[[Facts, str], Work]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        fetch, prepare, embed_text, cache_features, hypothesise, rectify, pseudo_mask, distill,
        probe, evaluate, package,
    )
}  # fmt: skip
"""The work of a job, by stage. Jobs of the other stages take seconds."""


def _label_map(pixels: float) -> Work:
    """Return the work of writing a label map as a palette PNG."""
    return Work(megapixels=pixels / 1e6, written=PNG_BYTES + PNG_BYTES_A_PIXEL * pixels)


def _features(facts: Facts, patches: int, with_global: bool = False) -> Work:
    one = flops.dense(facts.model, patches, facts.experiment.clip.mlp, with_global)
    return one + Work(calls=1 / max(1, TOKENS_A_BATCH // patches))


def _training(
    facts: Facts, run: str, settings: OptimiserSettings, step: Work, image: Work, kept: Work
) -> Work:
    """Return the work of all seeds of a run.

    A running training also keeps a checkpoint of about twice its weights, which is not counted.

    step, image: the work for each of them; kept: the work once for each seed, with its weights.
    """
    steps, images = facts.steps(facts.dataset(run), settings)
    one = steps * (step + Work(steps=1, written=CURVE_BYTES)) + images * image + kept
    return len(facts.experiment.seeds(run)) * one


def _training_on_views(
    facts: Facts, run: str, settings: DistillSettings | ProbeSettings, image: Work
) -> Work:
    """Return the work of all seeds; each reads only the views that are not yet in memory."""
    dataset = facts.dataset(run)
    _, images = facts.steps(dataset, settings)
    views, crop = facts.census[dataset].photos("train"), facts.views(dataset).crop
    views *= min(facts.views(dataset).count, settings.epochs)
    reads = min(views, images) if views <= MEMORY // (4 * crop**2) else images
    megapixels = reads * facts.view_megapixels(dataset)
    kept = Work(written=facts.student_bytes(run), megapixels=megapixels)
    return _training(facts, run, settings, Work(), image, kept)


def _by_rectifier(facts: Facts, run: str, photos: Photos) -> Work:
    """Return the work on one photo, from its cached features."""
    total, cell = _final_resize(facts.classes(run), photos), facts.rectifier(run).forward
    for window in photos.windows:
        patches = cells(window, facts.patch)
        resized = facts.classes(run) * patches * facts.patch**2
        total += patches * cell + Work(resized=resized, calls=1, read=patches * facts.token)
    return total


def _by_student(facts: Facts, run: str, photos: Photos) -> Work:
    """Return the work on one photo; a student's FLOPs are in proportion to the pixels."""
    classes, student = facts.classes(run), facts.student(run)
    total = _final_resize(classes, photos) + Work(megapixels=math.prod(photos.read) / 1e6)
    for window in photos.windows:
        number = cells(window, OUTPUT_STRIDE)
        total += number / student.cells * student.forward + Work(
            conv=flops.linear(number, facts.dim, classes),
            resized=classes * number * OUTPUT_STRIDE**2,
            calls=1,
        )
    return total


def _final_resize(classes: int, photos: Photos) -> Work:
    """Return the work of the second resizing, to the photo's own size."""
    return Work(resized=classes * math.prod(photos.size) * (photos.read != photos.size))
