"""The work of the stages that train: all seeds of a run.

Disk is that of what stays. While a training runs, the state from which it could go on takes about
twice its weights more.
"""

from __future__ import annotations

from reclip.clip.text import OFFICIAL_SLOTS
from reclip.config.models import DistillSettings, RectifySettings
from reclip.cost import flops
from reclip.cost.known import Known
from reclip.cost.work import Work
from reclip.distill.view_batches import MEMORY

CURVE_BYTES = 40  # a line of a training curve
CARD_BYTES = 5000  # of a packaged model, with its description
FLOAT = 4  # bytes


def rectify(known: Known, run: str) -> Work:
    """Reads the cached views; the networks that work are the text tower and the positional net."""
    dataset, settings = known.dataset(run), known.plan.experiment.rectify(run)
    classes, cells = known.census[dataset].classes, known.view_cells(dataset)
    steps, images = known.steps(dataset, settings)
    step = Work(
        matmul=_text(known, dataset, settings, train=True),
        conv=known.positional(run, cells, train=True),
        steps=1,
        written=CURVE_BYTES,
    )
    head_learns = settings.reference or settings.learn_query
    logits = (2 if head_learns else 1) * flops.linear(cells, known.clip.dim, classes)
    loss = flops.contrast(known.clip.dim, classes, cells)
    image = Work(matmul=logits + loss, read=cells * known.token)
    kept = Work(
        matmul=_text(known, dataset, settings, train=False),
        written=_rectifier_bytes(known, run),
    )
    return len(known.plan.experiment.seeds(run)) * (steps * step + images * image + kept)


def _text(known: Known, dataset: str, settings: RectifySettings, train: bool) -> float:
    """FLOPs of the texts that learn: of a step, or of what is kept of them at last."""
    classes, slots = known.census[dataset].classes, known.census[dataset].slots
    total = 0.0
    if settings.reference:
        own = OFFICIAL_SLOTS if settings.class_slots == "official" else slots
        length = min(settings.prompt_length, known.clip.context - 1 - own)
        total += flops.reference(known.clip, classes, length, own, train)
    if settings.learn_query:
        words = len(settings.query_words.split())
        total += flops.reference(known.clip, classes, words, slots, train)
    return total


def _rectifier_bytes(known: Known, run: str) -> float:
    settings, classes = known.plan.experiment.rectify(run), known.census[known.dataset(run)].classes
    numbers = (2 if settings.reference else 1) * classes * known.clip.dim
    if settings.positional:
        numbers += known.positional(run, cells=1) / 2  # weights are used once a cell
        numbers += known.clip.image.width * (1 + (known.clip.image_size // known.clip.patch) ** 2)
    return FLOAT * numbers


def distill(known: Known, run: str) -> Work:
    dataset, settings = known.dataset(run), known.plan.experiment.distill(run)
    classes, student = known.census[dataset].classes, known.student(run)
    steps, images = known.steps(dataset, settings)
    learnable = settings.head == "classifier"
    head = flops.linear(student.cells, known.clip.dim, classes)
    image = Work(
        conv=student.train + (3 if learnable else 2) * head,
        resized=2 * classes * student.crop**2,  # the mask loss's, there and back
        read=known.view_cells(dataset) * known.token,
    )
    image += _feature_loss(known, run) + _text_loss(known, run)
    weights = Work(written=_student_bytes(known, run))
    one = steps * Work(steps=1, written=CURVE_BYTES) + images * image + weights
    return len(known.plan.experiment.seeds(run)) * (one + _views_read(known, dataset, settings))


def _student_bytes(known: Known, run: str) -> float:
    classes = known.census[known.dataset(run)].classes
    return known.student(run).size + FLOAT * classes * known.clip.dim


def package(known: Known, run: str) -> Work:
    """A copy of one seed's weights, and a card."""
    by_clip = known.plan.params.runs[run].method == "rectify"
    weights = _rectifier_bytes(known, run) if by_clip else _student_bytes(known, run)
    return Work(written=weights + CARD_BYTES)


def _feature_loss(known: Known, run: str) -> Work:
    settings, student = known.plan.experiment.distill(run), known.student(run)
    if settings.alpha == 0:
        return Work()
    if settings.feature_resolution == "grid":
        return Work(resized=known.clip.dim * student.cells)  # the teacher's
    passes = 2 if settings.detach_feature else 3
    return Work(resized=passes * known.clip.dim * student.crop**2)


def _text_loss(known: Known, run: str) -> Work:
    settings, student = known.plan.experiment.distill(run), known.student(run)
    if settings.beta == 0:
        return Work()
    return Work(
        matmul=flops.contrast(
            known.clip.dim,
            known.census[known.dataset(run)].classes,
            student.cells,
            backward=not settings.detach_feature,
            feature_learns=True,
        )
    )


def _views_read(known: Known, dataset: str, settings: DistillSettings) -> Work:
    """Views decoded and resized in a training: those that are not in memory from before."""
    _, images = known.steps(dataset, settings)
    views, crop = known.census[dataset].photos("train"), known.views(dataset).crop
    views *= min(known.views(dataset).count, settings.epochs)
    reads = min(views, images) if views <= MEMORY // (4 * crop**2) else images
    return Work(megapixels=reads * known.view_pixels(dataset))


def probe(known: Known, run: str) -> Work:
    """The student predicts, one 1×1 convolution learns."""
    dataset, settings = known.dataset(run), known.plan.experiment.run_section(run, "probe")
    taught = known.plan.params.runs[run].student
    classes, student = known.census[dataset].classes, known.student(taught)
    steps, images = known.steps(dataset, settings)
    head = 2 * flops.linear(student.cells, known.clip.dim, classes)
    image = Work(conv=student.forward + head, resized=2 * classes * student.crop**2)
    weights = student.size + FLOAT * classes * known.clip.dim
    one = steps * Work(steps=1, written=CURVE_BYTES) + images * image + Work(written=weights)
    return len(known.plan.experiment.seeds(run)) * (one + _views_read(known, dataset, settings))
