"""Estimate the peak memory of a process of every stage's jobs, on the host and on its GPU.

What computes is measured on the meta device with the real networks, losses and sizes. What
surrounds it (libraries, weights while they load, decoded photos, batches ahead) is added up.
`benchmarks/memory.py` compares this with the peaks that finished jobs noted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TypeVar

from reclip.clip.extract import TOKENS_A_BATCH
from reclip.clip.prompts import templates
from reclip.clip.window_vectors import windows_a_batch
from reclip.config.models import (
    DistillSettings,
    ProbeSettings,
    RectifySettings,
)
from reclip.config.sources import ContextSource
from reclip.cost import meta, network_memory
from reclip.cost.facts import FLOAT, Facts, cells
from reclip.cost.need import Need
from reclip.data.reading import whole_size, windows
from reclip.distill import OUTPUT_STRIDE
from reclip.distill.view_batches import MEMORY

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
CONTEXT_LABELS = 3e9  # to read trainval_merged.json; assumed


Trained = TypeVar("Trained", RectifySettings, DistillSettings, ProbeSettings)


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
    return Need(NETWORKS, texts, 2 * clip, clip + network_memory.texts(facts.model))


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
    computing += max(network_memory.features(facts.model, attention, *batch) for batch in largest)
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
    step, learned = network_memory.rectify(
        facts.model, facts.classes(run), facts.slots[dataset], side, settings
    )
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
    step = network_memory.distill_step(
        settings, facts.dim, facts.classes(run), facts.views(dataset).crop,
        facts.view_cells(dataset),
    )  # fmt: skip
    # The optimiser's momentum and, while a checkpoint is written, the state once more.
    return Need(NETWORKS, _views(facts, run, settings.batch), 2 * student, 2 * student + step)


def probe(facts: Facts, run: str) -> Need:
    settings = facts.experiment.distill(facts.plan.params.runs[run].student)
    own = _of_process(facts.experiment.run_section(run, "probe"), facts, facts.dataset(run))
    student, batch = facts.student(run).size, own.batch
    step = network_memory.probe(
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
    upsampling = network_memory.class_map_of(
        classes, side, size, read, image, facts.refinement(run, split)
    )
    if not by_student:
        logits = 0
        if method == "rectify" and facts.experiment.rectify(run).model == "reclip++":
            grid = network_memory.grid_of_cells(windows(read, image)[0][2:], side)
            logits = network_memory.decoded(
                facts.model, classes, facts.experiment.rectify(run), grid
            )
        return facts.rectifier(run).size + max(logits, upsampling)
    settings = facts.experiment.distill(facts.plan.params.runs[run].student or run)
    padded = (
        side * length for length in network_memory.grid_of_cells(windows(read, image)[0][2:], side)
    )
    net = (settings.backbone, json.dumps(settings.backbone_args), facts.dim)
    return facts.student(run).size + max(network_memory.student(*net, *padded), upsampling)
