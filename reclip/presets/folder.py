"""`reclip init folder`: a settings file for a user's photos and class names."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import yaml

from reclip.common.errors import ReclipError
from reclip.common.text import listed
from reclip.config.classes import Classes, in_other_scripts, read_classes
from reclip.config.models import ComputeSettings
from reclip.config.sources import FolderSource
from reclip.data.folder import label_pairs
from reclip.data.images import image_size
from reclip.data.photos import list_photos, require_apart
from reclip.device import uses_gpu
from reclip.device.precision import resolve
from reclip.presets import PRESETS, preset_text
from reclip.presets.choose import Machine, Photos, Reading, choose, nearest_preset
from reclip.presets.options import require_checkpoint
from reclip.presets.ownership import free_name
from reclip.presets.sizes import SIZES, usual_hours
from reclip.weights.identity import MINI_CLIP
from reclip.weights.releases import clip_release

DEFAULT_CLIP = "ViT-B-16-quickgelu"
MEASURED = 300  # photos, a sample from which the median size is taken
SHORT = 40  # bytes of a name that fits into any prompt: a token is at least one byte
FEW = 20

SizesOfPhotos = dict[str, dict[tuple[int, int], int]]
"""Split to {(H, W): number of photos}."""


class Written(NamedTuple):
    """A settings file's text, lines that explain it, and the photos by split and size."""

    text: str
    lines: list[str]
    sizes: SizesOfPhotos


def folder_preset(
    images: str,
    classes: str,
    *,
    output: Path,
    val_images: str | None = None,
    val_labels: str | None = None,
    clip: str | None = None,
    checkpoint: str | None = None,
    experiment: str | None = None,
    limit: int | None = None,
    device: str = "auto",
    activation: str | None = None,
    hours: float | None = None,
    forecast: Callable[[str, SizesOfPhotos], float],
) -> Written:
    """Return the settings file's text, and lines that explain it to the user.

    The arguments are options of the command; `device` and `activation` are settings. Without
    `experiment`, its name is the folder's, or another if that one has results of other photos.

    Args:
        hours: that all jobs may take on a machine without a GPU; the usual ones if None.
        forecast: returns the hours of a settings file, given as its text, for photos by size.
    Raises ReclipError: a file or folder is missing, or photos or names cannot be used.
    """
    names = read_classes(classes)
    photos, unread = measure(list_photos(images, "--images")[:limit], images)
    _check_val(images, names, val_images, val_labels)
    reading, notes = _clip(clip, checkpoint, activation)
    weights = reading.settings
    notes += _check_names(names, weights)
    gpu = uses_gpu(ComputeSettings(device=device))
    here = Machine(gpu, os.cpu_count() or 1, shutil.disk_usage(".").free)
    height, width = photos.size
    said = f"{photos.count:,} photo{'s' * (photos.count > 1)} of about {width}×{height} pixels"
    if experiment is None:
        named = _name_of(images)
        experiment, owner = free_name(named, images, output, PRESETS)
        if owner:
            notes.append(f"note: the experiment is {experiment}, because {named} is {owner}")
    val = len(list_photos(val_images, "--val-images")[:limit]) if val_images else 0
    sizes = {"train": {photos.size: photos.count}, "val": {photos.size: val} if val else {}}
    write = partial(
        preset_text,
        "folder",
        experiment=experiment,
        photos=f"{said} and {len(names)} classes",
        images=images,
        classes=[of_class[0] if len(of_class) == 1 else list(of_class) for of_class in names],
        val_images=val_images,
        val_labels=val_labels,
        limit=limit,
        target="metrics.json" if val_images else "<stage>/receipt.json",
        flow=flow,
        comment=comment,
    )
    sized = not gpu and nearest_preset(photos, names, weights["model"]) == "paper"
    may_take = hours
    if hours is None and sized:
        may_take = usual_hours(photos.count, bfloat16=_bfloat16_on_the_cpu())
    for size in SIZES if sized else SIZES[:1]:
        choices = choose(photos, names, reading, here, size)
        text = write(choices=choices)
        fits = not sized or forecast(text, sizes) <= may_take
        if fits:
            break
    if size != SIZES[0]:
        saved = "to save time" if fits else "and still takes longer than it may"
        notes.append(
            f"note: the training is {size.name}, {saved}; --hours 8 allows a larger one, and "
            f"docs/own-photos.md says what it gains"
        )
    lines = [f"{said}; {len(names)} classes: {listed([n[0] for n in names], most=8)}"]
    lines += [f"{c.section}: {flow(c.value).strip('{}')} ({c.why})" for c in choices]
    if photos.count < FEW:
        lines.append("note: so few photos are only a trial; use hundreds, without labels")
    if gpu and weights["model"] != MINI_CLIP:
        lines.append("note: if the GPU runs out of memory, add --set distill.batch=4")
    if unread:
        lines.append(f"note: {unread} of the measured photos cannot be read and will be skipped")
    return Written(text, lines + notes, sizes)


def _bfloat16_on_the_cpu() -> bool:
    """Return whether `compute.precision: auto`, as `choose` writes it, takes bfloat16 here."""
    import torch

    return resolve("auto", torch.device("cpu")) == "bfloat16"


def measure(paths: list[Path], folder: str) -> tuple[Photos, int]:
    """Return the number and median size of photos, and how many of a sample cannot be read.

    The sizes are from the headers of the sample.
    Raises ReclipError: there are no photos, or none of the sample can be read.
    """
    if not paths:
        raise ReclipError(
            f"--images: '{folder}' holds no photo (no file named like JPEG, PNG, TIFF, WEBP or "
            f"BMP): name the folder that does"
        )
    sizes, problems = [], []
    for path in paths[:: -(-len(paths) // MEASURED)]:
        try:
            sizes.append(image_size(path))
        except ReclipError as error:
            problems.append(error)
    if not sizes:
        raise ReclipError(
            f"--images: no photo in '{folder}' can be read (the first: {problems[0]})"
        ) from problems[0]
    middle = tuple(int(statistics.median_low(side)) for side in zip(*sizes, strict=True))
    return Photos(len(paths), middle), len(problems)


def flow(value: object) -> str:
    """Return a value as one line of YAML; text that YAML would read as another type is quoted."""
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w./ -]+", value) and yaml.safe_load(value) == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.strip()


def comment(text: str) -> str:
    """Return `text` as lines of a YAML comment."""
    return textwrap.fill(text, 100, initial_indent="# ", subsequent_indent="# ")


def _name_of(images: str) -> str:
    """Return the folder's name without characters that paths or commands would not take."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(images).expanduser().resolve().name)
    return name.strip("-_")[:40] or "photos"


def _check_val(
    images: str, classes: Classes, val_images: str | None, val_labels: str | None
) -> None:
    """Raise ReclipError if the val photos and label maps are not complete pairs."""
    folders = {"--val-images": val_images, "--val-labels": val_labels}
    missing = [option for option, folder in folders.items() if folder is None]
    if len(missing) == 2:
        return
    if missing:
        (given,) = folders.keys() - missing
        raise ReclipError(
            f"{given} needs {missing[0]}: give photos and their label maps, or neither"
        )
    for option, folder in folders.items():
        if not list_photos(folder, option):
            raise ReclipError(f"{option}: '{folder}' is empty: fill it")
    require_apart(images, folders)
    given = {"images": images, "val_images": val_images, "val_labels": val_labels}
    label_pairs(FolderSource(kind="folder", classes=classes, **given))


def _clip(
    model: str | None, checkpoint: str | None, activation: str | None
) -> tuple[Reading, list[str]]:
    """Return CLIP's settings with its activation in words, and a note on how it is known."""
    if model == MINI_CLIP:
        weights = {"checkpoint": checkpoint} if checkpoint else {}
        if checkpoint:
            require_checkpoint(checkpoint)
        return Reading({"model": model, **weights}), []
    from reclip.clip.checkpoint import activation_of_published, choose_model

    if checkpoint:
        require_checkpoint(checkpoint)
        chosen = choose_model(checkpoint, model, activation)
        settings = {"model": chosen.model, "checkpoint": checkpoint}
        return Reading(settings, chosen.activation), [f"note: {chosen.said}"]
    model = model or DEFAULT_CLIP
    if clip_release(model) is None:
        raise ReclipError(
            f"--clip: OpenAI published no weights of '{model}': name a model with weights, such as "
            f"ViT-B-16, or give --checkpoint FILE"
        )
    settings = {"model": model, "pretrained": "openai"}
    return Reading(settings, activation_of_published(model, "openai", activation)), []


def _check_names(classes: Classes, clip: dict[str, str]) -> list[str]:
    """Return notes about names and weights; raise ReclipError if CLIP cannot read a name."""
    notes, published = [], "checkpoint" not in clip
    if foreign := in_other_scripts(classes):
        if published:
            raise ReclipError(
                f"--classes: CLIP learned from English captions, and masks of "
                f"{listed([repr(name) for name in foreign])} would be noise: use English names"
            )
        notes.append(f"note: only a CLIP trained on such captions knows {listed(foreign)}")
    if long := [n for names in classes for n in names if len(n.encode()) > SHORT]:
        _require_room(long, clip["model"])
    if published and clip["model"] == MINI_CLIP:
        notes.append("note: mini-clip knows only drawn textures: with photos it is a trial")
    elif published:
        notes.append(f"note: the weights of {clip['model']} are downloaded once")
    return notes


def _require_room(names: list[str], model: str) -> None:
    """Raise ReclipError if a name and a template exceed the text tower's context."""
    from open_clip.tokenizer import SimpleTokenizer

    from reclip.clip.prompts import templates
    from reclip.clip.shape import clip_shape

    tokenizer, context = SimpleTokenizer(), clip_shape(model).context
    for name in names:
        prompts = (template.format(name) for template in templates("reclip"))
        tokens = max(len(tokenizer.encode(prompt)) for prompt in prompts) + 2
        if tokens > context:
            raise ReclipError(
                f"--classes: '{name[:60]}...' makes prompts of {tokens} tokens and CLIP reads "
                f"{context}: use fewer words"
            )
