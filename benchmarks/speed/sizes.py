"""The sizes that are measured: `mini`'s and those of the paper's three datasets."""

from __future__ import annotations

from typing import NamedTuple

from reclip.config.models import DistillSettings, RectifySettings
from reclip.data.layouts.class_names import ADE_CLASSES, CONTEXT_CLASSES, VOC_CLASSES, Classes

STUDENT = DistillSettings(pretrained=False)
MINI_STUDENT = DistillSettings(
    pretrained=False,
    backbone="resnet18",
    backbone_args={
        "layers": [1, 1, 1, 1],
        "channels": [32, 64, 96, 128],
        "stem_type": "deep",
        "stem_width": 16,
    },
)


class Size(NamedTuple):
    """What decides the work of a stage.

    model: CLIP's name. crop: side of a view in pixels. photo: (H, W) of a file. short: side to
    which a photo is resized. Photos of a stage on a GPU, and on a CPU where it has fewer:
    `batch`, `few`.
    """

    name: str
    title: str
    model: str
    classes: Classes
    crop: int
    photo: tuple[int, int]
    short: int
    rectify: RectifySettings
    student: DistillSettings
    batch: int = 16
    few: int = 2
    gpu_only: tuple[str, ...] = ()


SIZES = {
    size.name: size
    for size in (
        Size(
            "mini", "mini", "mini-clip", VOC_CLASSES, 72, (72, 96), 72,
            RectifySettings(positional_hidden=(64, 32)), MINI_STUDENT, few=16,
        ),
        Size(
            "voc", "VOC", "ViT-B-16", VOC_CLASSES, 512, (375, 500), 512, RectifySettings(),
            STUDENT,
        ),
        Size(
            "context", "Context", "ViT-B-16", CONTEXT_CLASSES, 480, (375, 500), 390,
            RectifySettings(), STUDENT,
            gpu_only=("distillation-image", "distillation-grid", "rectification-compiled"),
        ),
        Size(
            "ade", "ADE", "ViT-B-16", ADE_CLASSES, 512, (512, 683), 512, RectifySettings(),
            STUDENT, gpu_only=("rectification-compiled",),
        ),
    )
}  # fmt: skip
"""Crops and resizing are those of the preset `paper`; `mini`'s are those of params.yaml."""
