"""Choose settings for a user's photos: the nearest preset's, fitted to photos and machine.

No choice uses labels. Numbers that no preset has are our choice, with the reason beside them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import yaml

from reclip.clip.shape import ClipShape, clip_shape
from reclip.config.classes import Classes
from reclip.config.models import ImageSettings, RectifySettings
from reclip.data.reading import whole_size
from reclip.data.world.scenes import SCENE_SIZES, WORLDS
from reclip.presets import preset_text
from reclip.presets.sizes import Size
from reclip.weights.identity import MINI_CLIP

SOURCES = {"mini": "as for drawn scenes", "voc": "as in the trial on VOC", "paper": "the paper's"}
AS_TRAINED = "as it was trained: with {activation}, and with CLIP's mean and deviation"
EXTRACTOR = {"attention": "naclip", "residual": False, "mlp": False}
EXTRACTOR_SIDE = 336  # NACLIP reads VOC's photos whole, with this short side
WHY_EXTRACTOR = (
    "; patches look at their neighbours, as in NACLIP: published 79.7, 35.2 and 17.4 on VOC, "
    "Context and ADE, where MaskCLIP has 74.9, 26.4 and 9.8"
)
WHY_NO_EXTRACTOR = (
    "; each patch keeps its own value, as in MaskCLIP: later extractors were made for ViT-B/16, "
    "and lose or collapse on others (docs/strong.md)"
)
WHY_PLUS = (
    "ReCLIP++, the authors' later model: published 85.4, 36.1 and 16.4 on VOC, Context and ADE, "
    "where ReCLIP has 58.5, 25.8 and 11.1"
)
WHY_AUTO = (
    "; CLIP and the student compute in bfloat16 where the hardware has it, which is two to three "
    "times faster (docs/precision.md)"
)
PHOTOS_OF_PRESET = {"mini": 1000, "voc": 1464, "paper": 1464}  # photos that its epochs are for
RELATIVE = 0.7  # ours, on drawn scenes of other seeds than mini's (benchmarks/hypotheses.py)
MOST_EPOCHS = 5  # times the preset's: a few photos need no more
LEAST_EPOCHS = 2
ENLARGED = 1.5  # at most: the paper reads VOC's photos, 375 pixels high, at 512
SIDES = (512, 448, 384, 320, 256, 224)
CPU_SIDE, CPU_RECTIFY_STEPS = 224, 1000
SOFTER = 10  # ReCLIP++'s logits are scaled by 100 before the Gumbel-Softmax, ReCLIP's by 1,000
LOGIT_SCALE = 30  # mini's; with 1, drawn students lose 13 points (benchmarks/students.py)
STUDENT_CELL = 8  # pixels of a cell's side (reclip.distill.OUTPUT_STRIDE)
LOADERS = 8  # threads that prefetch photos for a GPU
DISK_SHARE = 0.5  # of the free disk, for the feature cache


class Photos(NamedTuple):
    """The number of photos and their median (H, W)."""

    count: int
    size: tuple[int, int]


class Machine(NamedTuple):
    """Whether there is a GPU, the number of processor cores, and the bytes of free disk."""

    gpu: bool
    cores: int
    free: int


class Reading(NamedTuple):
    """CLIP of the settings: `model`, and `pretrained` or `checkpoint`; its activation in words."""

    settings: dict[str, Any]
    activation: str = ""


class Choice(NamedTuple):
    """A section of the settings file, and the reason for its values."""

    section: str
    value: dict[str, Any]
    why: str


def choose(
    photos: Photos, classes: Classes, clip: Reading, here: Machine, size: Size
) -> list[Choice]:
    """Return the sections of the settings file.

    size: of the training; only photos with real CLIP on a machine without a GPU need it.
    Raises ReclipError: the CLIP model does not exist.
    """
    base = nearest_preset(photos, classes, clip.settings["model"])
    preset = yaml.safe_load(preset_text(base))
    shape = clip_shape(clip.settings["model"])
    found = [
        _compute(here, base),
        _clip(preset, clip, base),
        *_image_and_views(photos, preset, clip, shape, here, base, size),
    ]
    if "prompts" in preset:
        found.append(Choice("prompts", preset["prompts"], f"text templates: {SOURCES[base]}"))
    found.append(_hypotheses())
    trainings = ("rectify", "distill")
    return found + [_training(name, preset, photos, base, here, size) for name in trainings]


def nearest_preset(photos: Photos, classes: Classes, model: str) -> str:
    """Return the name of the preset that fits photos and CLIP."""
    if model != MINI_CLIP:
        return "paper"
    drawn = {name for names in classes for name in names} <= set(WORLDS["ade"].class_names)
    return "mini" if drawn and min(photos.size) <= max(map(max, SCENE_SIZES)) else "voc"


def _compute(here: Machine, base: str) -> Choice:
    value: dict[str, Any] = {"device": "cpu", "threads": 1}
    why = "there is no GPU; one thread per job, as in the preset"
    if here.gpu:
        value = {"device": "auto", "threads": 1, "loaders": LOADERS}
        why = f"on the GPU; {LOADERS} threads prefetch photos"
    elif base == "paper":
        value["threads"], why = min(8, here.cores), "there is no GPU"
    if base == "paper":  # mini-clip and its students are too small to gain
        value["precision"] = "auto"
        why += WHY_AUTO
    return Choice("compute", value, why)


def _clip(preset: dict[str, Any], clip: Reading, base: str) -> Choice:
    """Choose how CLIP reads photos: real CLIP as it was trained, mini-clip as its preset does."""
    if base == "paper":
        said = AS_TRAINED.format(activation=clip.activation)
        if _has_extractor(clip):
            return Choice("clip", {**clip.settings, **EXTRACTOR}, said + WHY_EXTRACTOR)
        return Choice("clip", clip.settings, said + WHY_NO_EXTRACTOR)
    reading = {k: v for k, v in preset["clip"].items() if k not in ("pretrained", "checkpoint")}
    return Choice("clip", {**reading, **clip.settings}, f"how CLIP reads photos: {SOURCES[base]}")


def _has_extractor(clip: Reading) -> bool:
    """Return whether CLIP is the one that the extractors were published for."""
    return clip.settings["model"].startswith("ViT-B-16")


def _image_and_views(
    photos: Photos,
    preset: dict[str, Any],
    clip: Reading,
    shape: ClipShape,
    here: Machine,
    base: str,
    size: Size,
) -> list[Choice]:
    """Choose the size at which photos are read, and the number of views of each."""
    image, views = dict(preset.get("image", {})), dict(preset["views"])
    if "short_side" not in image:  # drawn scenes are read at their own size
        said = _cache_in_words(views, _cache_bytes(photos, image, views, shape))
        return [Choice("views", views, said)]
    if base == "paper" and _has_extractor(clip):
        image["short_side"] = EXTRACTOR_SIDE
    room = min(ENLARGED * min(photos.size), image["short_side"])
    why = f"for photos of about {photos.size[1]}×{photos.size[0]}"
    if base == "paper" and not here.gpu:
        room, views["count"] = min(room, CPU_SIDE), 2
        why += ", small because there is no GPU"
    elif room < image["short_side"]:
        why += f", because enlarging them more than {ENLARGED} times shows nothing new"
    whole = math.lcm(shape.patch, STUDENT_CELL)  # pixels at which both grids end
    side = max(2 * shape.patch, int(room) // whole * whole)

    crop = round(size.crop / whole) * whole if base == "paper" and not here.gpu else side
    budget = DISK_SHARE * here.free
    fewer_views = [(count, side) for count in range(views["count"], 0, -1)]
    for count, tried in fewer_views + [(1, smaller) for smaller in SIDES if smaller < side]:
        image["short_side"] = tried
        views |= {"count": count, "crop": min(tried, crop)}
        taken = _cache_bytes(photos, image, views, shape)
        if taken <= budget:
            break
    free = f"of {here.free / 1e9:.0f} GB of free disk"
    said = _cache_in_words(views, taken)
    if taken > budget:
        said = f"the feature cache needs more than half {free}: use --limit"
    elif taken > 0.5 * budget:
        said += f", {free}"
    return [
        Choice("image", image, f"the short side at which CLIP and the student read, {why}"),
        Choice("views", views, said),
    ]


def _cache_bytes(photos: Photos, image: dict, views: dict, shape: ClipShape) -> float:
    """Return the size of the features of all photos and views, in 16 bits."""
    read = whole_size(*photos.size, ImageSettings(**image))
    cells = math.prod(math.ceil(side / shape.patch) for side in read)
    cells += views["count"] * math.ceil(views["crop"] / shape.patch) ** 2
    return 2.0 * shape.dim * cells * photos.count


def _cache_in_words(views: dict, size: float) -> str:
    amount = f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{max(1, size / 1e6):.0f} MB"
    return (
        f"{views['count']} crops of {views['crop']} pixels per photo; their cached features take "
        f"{amount} of disk"
    )


def _hypotheses() -> Choice:
    """Choose a rule without a threshold, because no threshold fits every CLIP and photo."""
    why = (
        f"which classes a photo may hold: those whose score rises by {RELATIVE:.0%} of the way "
        f"from their usual one to the photo's best; the summary says how many these are"
    )
    return Choice("hypotheses", {"relative": RELATIVE}, why)


def _training(
    section: str, preset: dict[str, Any], photos: Photos, base: str, here: Machine, size: Size
) -> Choice:
    """Choose epochs so that there are about as many steps as in the preset."""
    value, notes = dict(preset[section]), []
    batch = value.get("batch", 16)
    steps = value["epochs"] * math.ceil(PHOTOS_OF_PRESET[base] / batch)
    if base == "paper" and not here.gpu:
        steps = CPU_RECTIFY_STEPS
        if section == "distill":
            steps = size.steps
            value["backbone"] = "resnet18"
            notes.append("a small student, because there is no GPU")
    an_epoch = math.ceil(photos.count / batch)
    epochs = min(max(LEAST_EPOCHS, round(steps / an_epoch)), MOST_EPOCHS * value["epochs"])
    value["epochs"] = epochs
    value.pop("held_out", None)  # few photos: all train
    why = f"{epochs * an_epoch:,} steps of up to {batch} photos"
    if epochs * an_epoch < steps:
        why += f"; with more photos, {steps:,}"
    if section == "rectify":
        usual = value.get("gumbel_scale", RectifySettings.model_fields["gumbel_scale"].default)
        value |= {"model": "reclip++", "gumbel_scale": usual / SOFTER}
        notes.append(WHY_PLUS)
    if section == "distill":
        value |= {"head": "query", "feature_resolution": "grid", "logit_scale": LOGIT_SCALE}
        notes.append("features are compared per cell, which saves memory")
        if value.get("pretrained", True) and not value.get("checkpoint"):
            notes.append("the backbone starts from ImageNet weights, downloaded once")
    return Choice(section, value, "; ".join([why, *notes]))
