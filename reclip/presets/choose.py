"""Settings for a person's photos: those of the preset that is nearest, fitted to what there is.

Nothing is chosen by labels. Numbers that no preset has are ours, and the reason stands beside each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from reclip.clip.shape import ClipShape, clip_shape
from reclip.config.classes import Classes
from reclip.config.models import ImageSettings, ViewSettings
from reclip.data.views import whole_size
from reclip.data.world.scenes import SCENE_SIZES, WORLDS
from reclip.presets import preset_text
from reclip.weights.identity import MINI_CLIP

PHOTOS_OF_PRESET = {"mini": 1000, "voc": 1464, "paper": 1464}  # that its epochs are meant for
CLASSES_OF_PAPER = {"voc": 20, "context": 59, "ade": 150}
MOST_EPOCHS = 5  # times the preset's: a few photos are not gone through for ever
LEAST_EPOCHS = 2
ENLARGED = 1.5  # at most: the paper reads VOC's photos, 375 pixels high, at 512
SIDES = (512, 448, 384, 320, 256, 224)
CPU_SIDE, CPU_STEPS = 224, {"rectify": 1000, "distill": 400}
LOADERS = 8  # threads that read photos ahead of a GPU
DISK_SHARE = 0.5  # of the free disk, for the feature cache


@dataclass(frozen=True)
class Photos:
    """How many photos there are, and the median (H, W) of theirs."""

    count: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """gpu: whether there is one. cores: of the processor. free: bytes of the disk."""

    gpu: bool
    cores: int
    free: int


class Choice(NamedTuple):
    """A section of the settings file, and why it is as it is."""

    section: str
    value: dict[str, Any]
    why: str


def choose(photos: Photos, classes: Classes, clip: dict[str, Any], here: Machine) -> list[Choice]:
    """The sections of the settings file.

    Args:
        clip: `model`, and `pretrained` or `checkpoint`.

    Raises ReclipError: there is no such CLIP.
    """
    base = _nearest_preset(photos, classes, clip)
    preset = yaml.safe_load(preset_text(base))
    shape = clip_shape(clip["model"])  # before anything else: the name may be wrong
    mini = clip["model"] == MINI_CLIP
    reading = {k: v for k, v in preset["clip"].items() if k not in ("pretrained", "checkpoint")}
    as_in = {"mini": "as on drawn scenes", "voc": "the trial on VOC", "paper": "the paper's"}[base]
    found = [
        _compute(here, mini),
        Choice("clip", {**reading, **clip}, f"how CLIP is read: {as_in}"),
        *_image_and_views(photos, preset, shape, here, mini),
    ]
    if "prompts" in preset:
        found.append(Choice("prompts", preset["prompts"], f"templates of the texts: {as_in}"))
    found.append(_hypotheses(preset, len(classes), base))
    for section in ("rectify", "distill"):
        found.append(_training(section, preset, photos, base, here))
    return found


def _nearest_preset(photos: Photos, classes: Classes, clip: dict[str, Any]) -> str:
    if clip["model"] != MINI_CLIP:
        return "paper"
    drawn = {name for names in classes for name in names} <= set(WORLDS["ade"].class_names)
    return "mini" if drawn and min(photos.size) <= max(map(max, SCENE_SIZES)) else "voc"


def _compute(here: Machine, mini: bool) -> Choice:
    if here.gpu:
        value = {"device": "auto", "threads": 1, "loaders": LOADERS}
        return Choice("compute", value, f"on the GPU; {LOADERS} threads read photos ahead of it")
    threads = 1 if mini else min(8, here.cores)
    why = "there is no GPU; a thread a job, as in the preset" if mini else "there is no GPU"
    return Choice("compute", {"device": "cpu", "threads": threads}, why)


def _image_and_views(
    photos: Photos, preset: dict[str, Any], shape: ClipShape, here: Machine, mini: bool
) -> list[Choice]:
    """How large photos are read, and how many views of each are kept."""
    views = dict(preset["views"])
    image = dict(preset.get("image", {}))
    if "short_side" not in image:  # drawn scenes are read at their own size
        return [Choice("views", views, _cache_in_words(photos, image, views, shape))]
    room = min(ENLARGED * min(photos.size), image["short_side"])
    why = f"of photos of about {photos.size[1]}×{photos.size[0]}"
    if not mini and not here.gpu:
        room, views["count"] = min(room, CPU_SIDE), 2
        why += ", small as there is no GPU"
    elif room < image["short_side"]:
        why += f", as enlarging them more than {ENLARGED} times shows nothing new"
    side = max(2 * shape.patch, int(room) // shape.patch * shape.patch)

    def need(side: int) -> float:
        tried = {**views, "crop": side}
        return _cache_bytes(photos, {**image, "short_side": side}, tried, shape)

    budget = DISK_SHARE * here.free
    while need(side) > budget and views["count"] > 1:
        views["count"] -= 1
    smaller = [s for s in SIDES if s < side]
    while need(side) > budget and smaller:
        side = smaller.pop(0)
    image["short_side"], views["crop"] = side, side
    if need(side) > budget:
        said = f"more than half of the {here.free / 1e9:.0f} GB that are free: use --limit"
    else:
        said = _cache_in_words(photos, image, views, shape)
        if need(side) > 0.5 * budget:
            said += f", of {here.free / 1e9:.0f} GB that are free"
    return [
        Choice("image", image, f"the short side at which CLIP and the student read, {why}"),
        Choice("views", views, said),
    ]


def _cache_bytes(photos: Photos, image: dict, views: dict, shape: ClipShape) -> float:
    """Of the features of all photos and views, in 16 bits."""
    read = whole_size(*photos.size, ImageSettings(**image))
    cells = math.prod(-(-side // shape.patch) for side in read)
    crop = ViewSettings(**views).crop
    cells += ViewSettings(**views).count * (-(-crop // shape.patch)) ** 2
    return 2.0 * shape.dim * cells * photos.count


def _cache_in_words(photos: Photos, image: dict, views: dict, shape: ClipShape) -> str:
    size = _cache_bytes(photos, image, views, shape)
    amount = f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{max(1, size / 1e6):.0f} MB"
    return (
        f"{views['count']} crops of {views['crop']} pixels of each photo are kept as features: "
        f"{amount} on the disk"
    )


def _hypotheses(preset: dict[str, Any], classes: int, base: str) -> Choice:
    """Which classes a photo may hold: the paper's values for about as many classes."""
    value, why = dict(preset["hypotheses"]), f"as in the preset {base}"
    if base == "paper":
        nearest = min(CLASSES_OF_PAPER, key=lambda d: abs(CLASSES_OF_PAPER[d] - classes))
        value |= preset["datasets"][nearest].get("hypotheses", {})
        why = f"as in the official code for {CLASSES_OF_PAPER[nearest]} classes"
    value["fallback_k"] = max(1, min(value["fallback_k"], classes // 2))
    return Choice(
        "hypotheses",
        value,
        f"which classes a photo may hold, {why}; the summary says whether to change it",
    )


def _training(
    section: str, preset: dict[str, Any], photos: Photos, base: str, here: Machine
) -> Choice:
    """As many steps as the preset has, in epochs of this many photos."""
    value = dict(preset[section])
    batch = value.get("batch", 16)
    steps = value["epochs"] * math.ceil(PHOTOS_OF_PRESET[base] / batch)
    notes = []
    if base == "paper" and not here.gpu:
        steps = CPU_STEPS[section]
        if section == "distill":
            value["backbone"] = "resnet18"
            notes.append("a small student, as there is no GPU")
    an_epoch = math.ceil(photos.count / batch)
    epochs = max(LEAST_EPOCHS, round(steps / an_epoch))
    if epochs > MOST_EPOCHS * value["epochs"]:
        epochs = MOST_EPOCHS * value["epochs"]
    value["epochs"] = epochs
    why = f"{epochs * an_epoch:,} steps of up to {batch} photos"
    if epochs * an_epoch < steps:
        why += f", {steps:,} with more photos"
    if section == "distill":
        value["feature_resolution"] = "grid"
        notes.append("features are compared cell by cell, which saves memory")
    if section == "distill" and value.get("pretrained", True):
        notes.append("the backbone starts from ImageNet, which is downloaded once")
    return Choice(section, value, "; ".join([why, *notes]))
