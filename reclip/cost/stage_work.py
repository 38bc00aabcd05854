"""Estimate the work of a job of every stage from the settings and the photos: one seed of a run."""

from __future__ import annotations

import math
from collections.abc import Callable

from reclip.clip.extract import TOKENS_A_BATCH
from reclip.clip.prompts import templates
from reclip.clip.window_vectors import windows_a_batch
from reclip.config.models import OptimiserSettings
from reclip.config.sources import WorldSource
from reclip.cost import flops
from reclip.cost.facts import FLOAT, Facts, Photos, cells
from reclip.cost.machines import Work
from reclip.data.layouts.layout import SPLITS
from reclip.distill import OUTPUT_STRIDE
from reclip.distill.view_batches import MEMORY
from reclip.rectify.health import PHOTOS
from reclip.training.curve import ROWS, SINGLE

PROMPT_TOKENS = 9  # with start and end token: the mean over VOC's names and 85 templates
TEXTS_A_BATCH = 256
# Of a window's pixels as CLIP sees them, in pixels of a photo: they are resized and normalised, but
# not decoded. Measured on one core: 0.5 ms for 224×224.
WINDOW_TIME = 0.2

# Bytes of outputs. VOC's and ADE's masks have 0.017 to 0.018 bytes a pixel beside the palette.
PNG_BYTES, PNG_BYTES_A_PIXEL = 900, 0.02
SCENE_BYTES_A_PIXEL = 2.6  # of a drawn photo
LINE_BYTES = 30  # of a hypothesis: an id and a few classes
CURVE_BYTES = 40  # of a line of a training curve
CARD_BYTES = 5000  # of a packaged model's files beside its weights
METRICS_BYTES = 1500  # of metrics and distances, for a seed, beside its matrices


def fetch(facts: Facts, dataset: str) -> Work:
    """Return the disk space alone: the time of a download is unknown."""
    return Work(written=facts.census[dataset].fetched)


def prepare(facts: Facts, dataset: str) -> Work:
    if facts.experiment.origin(dataset) != dataset:
        return Work()  # it has the label maps of another
    scene = SCENE_BYTES_A_PIXEL * isinstance(facts.experiment.source(dataset), WorldSource)
    return facts.work(lambda photo: _label_map(photo, scene), dataset, *SPLITS)


def embed_text(facts: Facts, dataset: str) -> Work:
    classes = facts.census[dataset].classes
    prompts = len(templates(facts.experiment.section(dataset, "prompts").templates))
    texts = prompts * sum(map(len, classes))
    return texts * flops.text_embedding(facts.model, PROMPT_TOKENS) + Work(
        calls=math.ceil(texts / TEXTS_A_BATCH), written=FLOAT * len(classes) * facts.dim
    )


def cache_features(facts: Facts, dataset: str) -> Work:
    image, views = facts.experiment.section(dataset, "image"), facts.views(dataset)
    centre = facts.experiment.section(dataset, "hypotheses").image == "centre_crop"
    grid = facts.grid(dataset)
    own = facts.experiment.origin(dataset) == dataset  # else the vectors are another's
    # One pass gives both kinds of feature.
    shared = own and not (centre or grid) and image.protocol == "whole"

    def one(photo: Photos) -> Work:
        whole = Work(megapixels=math.prod(photo.read) / 1e6)
        work = whole + Work(written=FLOAT * facts.dim * (own and not grid))
        for window in photo.windows:
            work += _features(facts, dataset, cells(window, facts.patch), shared)
        if not own:
            return work
        if grid:
            work += Work(megapixels=math.prod(photo.size) / 1e6)
            work += grid.count(*photo.size) * _window(facts)
        elif centre:
            work += whole + flops.image_embedding(facts.model) + Work(calls=1)
        elif not shared:
            work += whole + _features(
                facts, dataset, cells(photo.read, facts.patch), True, kept=False
            )
        return work

    view = _features(facts, dataset, facts.view_cells(dataset))
    view += Work(megapixels=facts.view_megapixels(dataset), written=4)
    all_views = views.count * facts.census[dataset].photos("train") * view
    return facts.work(one, dataset, *SPLITS) + all_views


def hypothesise(facts: Facts, dataset: str) -> Work:
    census, read = facts.census[dataset], facts.vectors(dataset, *SPLITS)
    photos = sum(map(census.photos, SPLITS))
    if facts.experiment.section(dataset, "hypotheses").relative:  # the usual scores come first
        read += census.photos("train")
    return Work(
        matmul=2 * read * facts.dim * len(census.classes),
        read=FLOAT * read * facts.dim,
        written=LINE_BYTES * photos,
    )


def rectify(facts: Facts, run: str) -> Work:
    """Return the work of a seed. Features are cached, so only CLIP's text tower runs."""
    dataset, settings = facts.dataset(run), facts.experiment.rectify(run)
    classes, patches = facts.classes(run), facts.view_cells(dataset)
    model = facts.rectifier(run)
    step, kept = patches * model.train, Work(written=model.size)
    encoders = []
    if settings.reference:
        encoders.append({"length": settings.prompt_length, "class_slots": settings.class_slots})
    if settings.learn_query:
        encoders.append({"words": settings.query_words})
    for encoder in encoders:
        text = flops.reference(facts.model, classes, facts.slots[dataset], **encoder)
        step += text.train
        kept += text.forward
    decoded = settings.model == "reclip++"
    # ReCLIP++'s Reference meets the positions alone.
    head_learns = settings.learn_query if decoded else bool(encoders)
    image = flops.rectify_image(facts.dim, classes, patches, head_learns, decoded)
    kept += _health(facts, run)
    return _training(facts, run, settings, step, image + Work(read=patches * facts.token), kept)


def _health(facts: Facts, run: str) -> Work:
    """Return the work of judging one seed, on a sample of the training photos."""
    dataset = facts.dataset(run)
    model, classes, settings = facts.model, facts.classes(run), facts.experiment.rectify(run)
    # Rectified logits, the Query's, and the positional ones a second time.
    cell = facts.rectifier(run).forward + flops.rectifier(model, classes, None).forward
    cell += flops.positional(model, classes, settings) + Work(read=facts.token)

    def one(photo: Photos) -> Work:
        return sum(cells(window, facts.patch) for window in photo.windows) * cell

    sampled = min(1.0, PHOTOS / facts.census[dataset].photos("train"))
    return sampled * facts.work(one, dataset, "train")


def pseudo_mask(facts: Facts, run: str) -> Work:
    """Return the work of one mask for each training photo."""
    return facts.work(_label_map, facts.dataset(run), "train") + _predict(facts, run, "train")


def distill(facts: Facts, run: str) -> Work:
    dataset, settings = facts.dataset(run), facts.experiment.distill(run)
    classes, pixels = facts.classes(run), facts.views(dataset).crop ** 2
    number = facts.view_cells(dataset, OUTPUT_STRIDE)
    resized = 2 * classes * pixels  # by the mask loss, forward and backward
    if settings.alpha and settings.feature_resolution == "grid":
        resized += facts.dim * number  # the teacher's features
    elif settings.alpha:
        resized += (2 if settings.detach_feature else 3) * facts.dim * pixels
    image = facts.student(run).train + flops.distill_image(settings, facts.dim, classes, number)
    image += Work(resized=resized, read=facts.view_cells(dataset) * facts.token)
    return _training_on_views(facts, run, settings, image)


def probe(facts: Facts, run: str) -> Work:
    """Return the work of a seed. The student only predicts; one 1×1 convolution learns."""
    dataset, classes = facts.dataset(run), facts.classes(run)
    number = facts.view_cells(dataset, OUTPUT_STRIDE)
    image = facts.student(run).forward + Work(
        conv=2 * 2 * number * facts.dim * classes,  # forward and backward
        resized=2 * classes * facts.views(dataset).crop ** 2,
    )
    return _training_on_views(facts, run, facts.experiment.run_section(run, "probe"), image)


def evaluate(facts: Facts, run: str) -> Work:
    pixels = sum(p.number * math.prod(p.size) for p in facts.photos(facts.dataset(run), "val"))
    classes, rings = facts.classes(run), facts.experiment.run_section(run, "evaluate").distance_bins
    counts = 8 * (classes**2 + 3 * rings * classes)  # the confusion matrix and the rings
    truth = Work(megapixels=pixels / 1e6, written=counts + METRICS_BYTES)
    return _predict(facts, run, "val") + truth


def package(facts: Facts, run: str) -> Work:
    """Return the disk space of one seed's weights, copied, and a model card."""
    rectified = facts.plan.params.runs[run].method == "rectify"
    model = facts.rectifier(run) if rectified else facts.student(run)
    return Work(written=model.size + CARD_BYTES)


def summarise(facts: Facts, name: str) -> Work:
    """Return the time that counts: two readings of each mask, one photo for the gallery."""
    return sum(
        (
            facts.work(lambda p: Work(megapixels=3 * math.prod(p.size) / 1e6), dataset, "train")
            for dataset in facts.experiment.own_photos
        ),
        Work(),
    )


WORK_OF: dict[str, Callable[[Facts, str], Work]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        fetch, prepare, embed_text, cache_features, hypothesise, rectify, pseudo_mask, distill,
        probe, evaluate, package,
    )
}  # fmt: skip
"""The work of a job, by stage. Jobs of the other stages take seconds."""


def _label_map(photo: Photos, more: float = 0) -> Work:
    """Return the work of writing a label map as a palette PNG, and `more` bytes a pixel."""
    pixels = math.prod(photo.size)
    return Work(megapixels=pixels / 1e6, written=PNG_BYTES + (PNG_BYTES_A_PIXEL + more) * pixels)


def _features(
    facts: Facts, dataset: str, patches: int, with_global: bool = False, kept: bool = True
) -> Work:
    """Return the work on one image; kept: its dense features are written."""
    clip = facts.experiment.clip_of(dataset)
    one = flops.dense(facts.model, patches, clip.mlp, with_global, clip.attention)
    calls = 1 / max(1, TOKENS_A_BATCH // patches)
    return one + Work(calls=calls, written=patches * facts.token * kept)


def _window(facts: Facts) -> Work:
    """Return the work on one window of a photo, at CLIP's own size, once the photo is decoded."""
    return flops.image_embedding(facts.model) + Work(
        calls=1 / windows_a_batch(facts.native),
        megapixels=WINDOW_TIME * math.prod(facts.native) * facts.patch**2 / 1e6,
        written=FLOAT * facts.dim,
    )


def _training(
    facts: Facts, run: str, settings: OptimiserSettings, step: Work, image: Work, kept: Work
) -> Work:
    """Return the work of a training.

    It also keeps a checkpoint of about twice its weights while it runs, which is not counted.

    step, image: the work for each of them; kept: the work once, with the weights.
    """
    steps, images = facts.steps(facts.dataset(run), settings)
    kept += Work(written=CURVE_BYTES * min(steps, SINGLE + ROWS))
    graph = facts.plan.params.compute.compile
    return steps * (step + Work(steps=1, graphs=graph)) + images * image + kept


def _training_on_views(facts: Facts, run: str, settings: OptimiserSettings, image: Work) -> Work:
    """Return the work of a training that reads only the views that are not yet in memory."""
    dataset = facts.dataset(run)
    _, images = facts.steps(dataset, settings)
    views = facts.census[dataset].photos("train")
    views *= min(facts.views(dataset).count, settings.epochs)
    fit = views <= MEMORY // (4 * facts.views(dataset).crop ** 2)
    megapixels = (min(views, images) if fit else images) * facts.view_megapixels(dataset)
    kept = Work(written=facts.student(run).size, megapixels=megapixels)
    return _training(facts, run, settings, Work(), image, kept)


def _predict(facts: Facts, run: str, split: str) -> Work:
    """Return the work on a split, by a rectifier from cached features or by a student.

    A student's FLOPs are in proportion to the pixels.
    """
    dataset, classes = facts.dataset(run), facts.classes(run)
    by_student, refinement = facts.by_student(run), facts.refinement(run, split)
    if by_student:
        side = OUTPUT_STRIDE
        cell = 1 / facts.view_cells(dataset, side) * facts.student(run).forward
        cell += Work(conv=2 * facts.dim * classes)
    else:
        side, cell = facts.patch, facts.rectifier(run).forward + Work(read=facts.token)
    cell += Work(resized=classes * side**2)
    # PAMR's 8 neighbours at each dilation: as many multiply-adds as 2 resized values have.
    refined = 2 * refinement.pamr * len(refinement.pamr_dilations)
    reads = by_student or refinement.pamr > 0

    def one(photo: Photos) -> Work:
        passes = refined + (photo.read != photo.size)  # resized to its own size
        return sum(cells(window, side) for window in photo.windows) * cell + Work(
            resized=passes * classes * math.prod(photo.size),
            calls=len(photo.windows),
            megapixels=reads * math.prod(photo.read) / 1e6,
        )

    return facts.work(one, dataset, split)
