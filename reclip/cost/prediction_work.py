"""The work of predicting: a teacher's masks of the training photos, and the evaluation."""

from __future__ import annotations

import math

from reclip.cost import flops
from reclip.cost.known import Known, Photos, label_map
from reclip.cost.work import Work
from reclip.distill.output_stride import OUTPUT_STRIDE

METRICS_BYTES = 1500  # of metrics and distances, for a seed, beside its confusion matrix


def pseudo_mask(known: Known, run: str) -> Work:
    """A mask of every training photo by every teacher that has a student."""
    total = Work()
    for photos in known.photos(known.dataset(run), "train"):
        mask = _by_rectifier(known, run, photos) + label_map(math.prod(photos.size))
        total += photos.number * mask
    return len(known.plan.experiment.taught_seeds(run) or (None,)) * total


def evaluate(known: Known, run: str) -> Work:
    classes = known.census[known.dataset(run)].classes
    by_student = known.plan.params.runs[run].method in ("distill", "probe")
    predict = _by_student if by_student else _by_rectifier
    total = Work(written=8 * classes**2 + METRICS_BYTES)
    for photos in known.photos(known.dataset(run), "val"):
        truth = Work(megapixels=math.prod(photos.size) / 1e6)
        total += photos.number * (predict(known, run, photos) + truth)
    return len(known.plan.experiment.seeds(run) or (None,)) * total


def _by_rectifier(known: Known, run: str, photos: Photos) -> Work:
    """One photo, from its cached features, by the Query or the rectified CLIP."""
    classes = known.census[known.dataset(run)].classes
    rectified = known.plan.params.runs[run].method == "rectify"
    total = _to_the_photo(classes, photos)
    for window in photos.windows:
        cells = known.cells(window.height, window.width)
        total += Work(
            matmul=flops.linear(cells, known.clip.dim, classes),
            conv=known.positional(run, cells) if rectified else 0,
            resized=classes * cells * known.clip.patch**2,
            calls=1,
            read=cells * known.token,
        )
    return total


def _by_student(known: Known, run: str, photos: Photos) -> Work:
    """One photo by a student, whose work grows as the pixels do."""
    settings = known.plan.params.runs[run]
    student = known.student(settings.student or run)
    classes = known.census[settings.dataset].classes
    total = _to_the_photo(classes, photos) + Work(megapixels=math.prod(photos.read) / 1e6)
    for window in photos.windows:
        cells = math.prod(flops.grid(window.height, window.width, OUTPUT_STRIDE))
        share = cells / student.cells
        total += Work(
            conv=share * student.forward + flops.linear(cells, known.clip.dim, classes),
            resized=classes * cells * OUTPUT_STRIDE**2,
            calls=1,
        )
    return total


def _to_the_photo(classes: int, photos: Photos) -> Work:
    """The second resizing, to the photo's own size."""
    return Work(resized=classes * math.prod(photos.size) * (photos.read != photos.size))
