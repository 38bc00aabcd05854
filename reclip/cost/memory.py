"""Estimate the peak memory of a process of every stage's jobs, on the host and on its GPU.

What computes is measured on the meta device with the real networks, losses and sizes. What
surrounds it (libraries, weights while they load, decoded photos, batches ahead) is added up.
`benchmarks/memory.py` compares this with the peaks that finished jobs noted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache, partial
from typing import TypeVar

import torch

from reclip.clip.dense import dense_features
from reclip.clip.extract import TOKENS_A_BATCH
from reclip.clip.prompts import templates
from reclip.clip.text import encode_tokens
from reclip.clip.window_vectors import windows_a_batch
from reclip.config.models import (
    Attention,
    DistillSettings,
    ImageSettings,
    ProbeSettings,
    RectifySettings,
    RefinementSettings,
)
from reclip.config.sources import ContextSource
from reclip.cost import meta
from reclip.cost.need import Need
from reclip.cost.peak import live_tensors, peak
from reclip.cost.stage_work import FLOAT, TEXTS_A_BATCH, Facts, cells
from reclip.data.reading import Frame, Piece, whole_size, windows
from reclip.distill import OUTPUT_STRIDE
from reclip.distill.deeplab import Student
from reclip.distill.losses import distillation_loss, mask_loss
from reclip.distill.view_batches import MEMORY
from reclip.rectify.learn import Batch, build_model, losses
from reclip.rectify.model import BiasModel
from reclip.rectify.predict import class_map
from reclip.rectify.refine import Refiner
from reclip.training.share import Share

# Of a process with its libraries, measured on Linux with the CPU's torch: Python and what the
# stage imports; with torch; with open_clip or timm as well.
PLAIN, TORCH, NETWORKS = 0.10e9, 0.60e9, 0.85e9
FIGURES = 0.50e9  # matplotlib and an open figure; assumed

PHOTO = 3000  # of a photo in the lists and indexes of a job
PIECE = 600  # of a window of a photo, in the list of what to compute
READ = 3  # of a pixel, as read
NORMALISED = 12  # of a pixel of a network's input
MEASURED = 32  # of a pixel of a prediction with its label map, while they are compared
PICTURE = 40_000  # of a photo on the gallery's page
PROMPT_TOKENS = 24  # of the longest of a batch of prompts
CONTEXT_LABELS = 3e9  # to read trainval_merged.json; assumed


Trained = TypeVar("Trained", RectifySettings, DistillSettings, ProbeSettings)


# Networks.


@cache
def _texts(model: str) -> int:
    clip = meta.clip(model, 2)  # a pass without gradients frees each layer
    prompt = meta.tensor(TEXTS_A_BATCH, min(PROMPT_TOKENS, clip.context_length)).long()
    with torch.no_grad():
        return peak(lambda: encode_tokens(clip.model, prompt, prompt[:, 0]))


@cache
def _features(model: str, attention: Attention, batch: int, height: int, width: int) -> int:
    clip, images = meta.clip(model, 2), meta.tensor(batch, 3, height, width)
    with torch.no_grad():
        return images.nbytes + peak(
            lambda: dense_features(clip, images, attention=attention, with_global=True)
        )


@cache
def _rectify(
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
    sum(losses(learner, batch, Share.whole(images), settings).values()).backward()


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
        share = Share.whole(batch)
        terms = distillation_loss(logits, unit, labels, z, texts, wanted, settings, 1.0, share)
        sum(terms.values()).backward()

    return max(most, kept + peak(step))


@cache
def _probe(backbone: str, arguments: str, dim: int, classes: int, crop: int, batch: int) -> int:
    """Return the peak of a step of the linear classifier on a frozen student."""
    net = meta.deeplab(backbone, arguments, dim).requires_grad_(False)
    classifier = torch.nn.Conv2d(dim, classes, 1, device="meta")

    def step() -> None:
        labels = meta.tensor(batch, crop, crop).long()
        unit = torch.nn.functional.normalize(net(meta.tensor(batch, 3, crop, crop)), dim=1)
        mask_loss(classifier(unit), labels).backward()

    return peak(step)


@cache
def _student(backbone: str, arguments: str, dim: int, height: int, width: int) -> int:
    net = meta.deeplab(backbone, arguments, dim)
    with torch.no_grad():
        return peak(lambda: net(meta.tensor(1, 3, height, width)))


@cache
def _decoded(model: str, classes: int, settings: RectifySettings, grid: tuple[int, int]) -> int:
    """Return the peak of the logits of a window by ReCLIP++, which reads its features again."""
    trained = meta.rectifier(model, classes, settings)
    z = meta.tensor(1, *grid, trained.w_query.shape[1])
    with torch.no_grad():
        return z.nbytes + peak(lambda: trained(z))


@cache
def _class_map(
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
            Piece(window, meta.tensor(classes, *_grid(window[2:], side)))
            for window in windows(read, image)
        ]
        refine = [Refiner(meta.tensor(3, *size), refinement)] if refinement.pamr else []
        class_map(pieces, Frame(side, read, size, image.overhang), *refine)

    with torch.no_grad():
        return peak(run)


def _grid(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return rows and columns of cells of `side`² pixels that cover a size."""
    return -(-size[0] // side), -(-size[1] // side)


# Stages.


def fetch(facts: Facts, dataset: str) -> Need:
    return Need(PLAIN)


def prepare(facts: Facts, dataset: str) -> Need:
    source = facts.experiment.source(dataset)
    ahead = 1 + facts.plan.params.compute.loaders
    host = _lists(facts, dataset, "train", "val") + ahead * 4 * READ * _largest(facts, dataset)
    if isinstance(source, ContextSource) and source.has_json:
        host += CONTEXT_LABELS
    return Need(PLAIN, host)


def embed_text(facts: Facts, dataset: str) -> Need:
    clip = meta.size_of(meta.clip(facts.model).model)
    prompts = len(templates(facts.experiment.section(dataset, "prompts").templates))
    texts = FLOAT * facts.dim * len(facts.census[dataset].classes) * prompts
    return Need(NETWORKS, texts, 2 * clip, clip + _texts(facts.model))


def cache_features(facts: Facts, dataset: str) -> Need:
    """Return the memory for the largest of some batches: of photos, of their views and windows."""
    views, clip = facts.views(dataset), meta.size_of(meta.clip(facts.model).model)
    sizes = {w for p in facts.photos(dataset, "train", "val") for w in (p.read, *p.windows)}
    batches = [(max(1, TOKENS_A_BATCH // cells(size, facts.patch)), *size) for size in sizes]
    of_views = max(1, TOKENS_A_BATCH // facts.view_cells(dataset))
    batches.append((of_views, views.crop, views.crop))
    if on_windows := facts.grid(dataset) is not None:
        sides = (side * facts.patch for side in facts.native)
        batches.append((windows_a_batch(facts.native), *sides))
    unchanged = clip * on_windows  # a second CLIP, for the windows
    # Peaks grow with the tokens of a batch, and with their square within an image.
    largest = sorted(batches, key=lambda b: b[0] * (cells(b[1:], facts.patch) + 1) ** 2)[-2:]
    attention = facts.experiment.clip_of(dataset).attention
    computing = clip + unchanged
    computing += max(_features(facts.model, attention, *batch) for batch in largest)
    pixels = max(batch * height * width for batch, height, width in batches)
    ahead = 2 + facts.plan.params.compute.loaders
    host = ahead * NORMALISED * max(pixels, views.count * of_views * views.crop**2)
    host += ahead * 4 * READ * _largest(facts, dataset)
    photos = [(p.number, len(p.windows)) for p in facts.photos(dataset, "train", "val")]
    host += sum(n * (2 * FLOAT * facts.dim + PHOTO + windows * PIECE) for n, windows in photos)
    return Need(NETWORKS, host, 2 * clip + unchanged, computing)


def hypothesise(facts: Facts, dataset: str) -> Need:
    classes = len(facts.census[dataset].classes)
    if grid := facts.grid(dataset):  # one photo at a time
        photos = facts.photos(dataset, "train", "val")
        vectors = max((grid.count(*photo.size) for photo in photos), default=0)
    else:
        vectors = max(map(facts.census[dataset].photos, ("train", "val")))
    values = vectors * (3 * facts.dim + 4 * classes)
    return Need(TORCH, _lists(facts, dataset, "train", "val") + FLOAT * values)


def rectify(facts: Facts, run: str) -> Need:
    dataset, settings = facts.dataset(run), facts.experiment.rectify(run)
    clip, side = meta.size_of(meta.clip(facts.model).model), math.isqrt(facts.view_cells(dataset))
    settings = _of_process(settings, facts, dataset)
    step, learned = _rectify(facts.model, facts.classes(run), facts.slots[dataset], side, settings)
    batch = settings.batch * facts.view_cells(dataset) * facts.dim * FLOAT
    host = _lists(facts, dataset, "train") + _ahead(facts) * 2 * batch
    return Need(NETWORKS, host, 2 * clip, clip + step + 2 * learned)


def pseudo_mask(facts: Facts, run: str) -> Need:
    dataset = facts.dataset(run)
    lists = _lists(facts, dataset, "train")
    return Need(TORCH, lists, computing=_predict(facts, run, "train"))


def distill(facts: Facts, run: str) -> Need:
    dataset, settings = facts.dataset(run), facts.experiment.distill(run)
    settings = _of_process(settings, facts, dataset)
    student = facts.student(run).size
    step = distill_step(
        settings, facts.dim, facts.classes(run), facts.views(dataset).crop,
        facts.view_cells(dataset),
    )  # fmt: skip
    # The optimiser's momentum and, while a checkpoint is written, the state once more.
    return Need(NETWORKS, _views(facts, run, settings.batch), 2 * student, 2 * student + step)


def probe(facts: Facts, run: str) -> Need:
    settings = facts.experiment.distill(facts.plan.params.runs[run].student)
    own = _of_process(facts.experiment.run_section(run, "probe"), facts, facts.dataset(run))
    student, batch = facts.student(run).size, own.batch
    step = _probe(
        settings.backbone, json.dumps(settings.backbone_args), facts.dim, facts.classes(run),
        facts.views(facts.dataset(run)).crop, batch,
    )  # fmt: skip
    return Need(NETWORKS, _views(facts, run, batch), 2 * student, student + step)


def evaluate(facts: Facts, run: str) -> Need:
    dataset = facts.dataset(run)
    host = _lists(facts, dataset, "val") + MEASURED * _largest(facts, dataset, "val")
    predicting = _predict(facts, run, "val")
    if not facts.by_student(run):
        return Need(TORCH, host, computing=predicting)
    return Need(NETWORKS, host, 2 * facts.student(run).size, predicting)


def gather(facts: Facts, run: str) -> Need:
    return Need(PLAIN, FLOAT * 4 * facts.classes(run) ** 2)


def package(facts: Facts, run: str) -> Need:
    return Need(PLAIN)


def tabulate(facts: Facts, table: str) -> Need:
    return Need(PLAIN)


def check(facts: Facts, name: str) -> Need:
    return Need(PLAIN)


def plot(facts: Facts, name: str) -> Need:
    """Return the memory for the photo that takes most: a few are predicted by every run."""
    runs = facts.plan.ids("evaluate")
    needs = [evaluate(facts, run) for run in runs]
    computing = max((need.computing for need in needs), default=0)
    host = max((need.host for need in needs), default=0)
    return Need(NETWORKS, FIGURES + 2 * host, computing=2 * computing)


def summarise(facts: Facts, name: str) -> Need:
    own = facts.experiment.own_photos.items()
    photos = max((facts.census[dataset].photos("train") for dataset, _ in own), default=0)
    classes = max((facts.classes(run) for _, run in own), default=0)
    computing = max((_predict(facts, run, "train") for _, run in own), default=0)
    return Need(TORCH, photos * (PHOTO + PICTURE + 4 * FLOAT * classes), computing=computing)


NEED_OF: dict[str, Callable[[Facts, str], Need]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        fetch, prepare, embed_text, cache_features, hypothesise, rectify, pseudo_mask, distill,
        probe, evaluate, gather, package, tabulate, plot, check, summarise,
    )
}  # fmt: skip
"""The memory of a job, by stage."""


def _of_process(settings: Trained, facts: Facts, dataset: str) -> Trained:
    """Return the settings of a training with the images that a process computes at a time."""
    images = min(settings.batch, facts.census[dataset].photos("train"))
    images = min(images, settings.micro_batch or images)
    share = math.ceil(images / facts.plan.params.compute.gpus)
    return settings.model_copy(update={"batch": max(1, share)})


def _largest(facts: Facts, dataset: str, *splits: str) -> int:
    """Return the pixels of the largest photo, as it is or as it is read."""
    photos = facts.photos(dataset, *(splits or ("train", "val")))
    return max((max(math.prod(p.size), math.prod(p.read)) for p in photos), default=0)


def _lists(facts: Facts, dataset: str, *splits: str) -> int:
    return PHOTO * sum(map(facts.census[dataset].photos, splits))


def _ahead(facts: Facts) -> int:
    """Return the batches that a training holds on the host: its own and those that are read."""
    return 1 + facts.plan.params.compute.loaders


def _views(facts: Facts, run: str, batch: int) -> float:
    """Return the bytes of a student's batches, and of the decoded views that it keeps."""
    dataset = facts.dataset(run)
    views, photos = facts.views(dataset), facts.census[dataset].photos("train")
    kept = min(MEMORY, 4 * views.crop**2 * views.count * photos)
    image = (NORMALISED + 8) * views.crop**2 + 2 * FLOAT * facts.view_cells(dataset) * facts.dim
    reading = _ahead(facts) * 4 * READ * _largest(facts, dataset, "train")
    return _lists(facts, dataset, "train") + kept + _ahead(facts) * batch * image + reading


def _predict(facts: Facts, run: str, split: str) -> int:
    """Return the bytes of a model and of the prediction of the photo that takes most."""
    dataset, classes = facts.dataset(run), facts.classes(run)
    method, by_student = facts.plan.params.runs[run].method, facts.by_student(run)
    side = OUTPUT_STRIDE if by_student else facts.patch
    image = facts.experiment.section(dataset, "image")
    size = max((p.size for p in facts.photos(dataset, split)), key=math.prod, default=(1, 1))
    read = whole_size(*size, image)
    upsampling = _class_map(classes, side, size, read, image, facts.refinement(run, split))
    if not by_student:
        logits = 0
        if method == "rectify" and facts.experiment.rectify(run).model == "reclip++":
            grid = _grid(windows(read, image)[0][2:], side)
            logits = _decoded(facts.model, classes, facts.experiment.rectify(run), grid)
        return facts.rectifier(run).size + max(logits, upsampling)
    settings = facts.experiment.distill(facts.plan.params.runs[run].student or run)
    padded = (side * length for length in _grid(windows(read, image)[0][2:], side))
    net = (settings.backbone, json.dumps(settings.backbone_args), facts.dim)
    return facts.student(run).size + max(_student(*net, *padded), upsampling)
