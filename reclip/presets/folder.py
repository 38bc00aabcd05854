"""`reclip init folder`: a settings file for a person's photos and class names."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import textwrap
from dataclasses import dataclass
from pathlib import Path

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
from reclip.presets import rendered
from reclip.presets.choose import Choice, Machine, Photos, choose
from reclip.weights.identity import MINI_CLIP
from reclip.weights.releases import clip_release

DEFAULT_CLIP = "ViT-B-16-quickgelu"
LOOKED_AT = 300  # photos, whose sizes stand for those of all
SHORT = 40  # bytes of a name that fits into any prompt: a token is at least one byte
FEW = 20


@dataclass(frozen=True)
class Given:
    """What a person gave: options of the command, by their names."""

    images: str
    classes: str
    val_images: str | None = None
    val_labels: str | None = None
    clip: str | None = None
    checkpoint: str | None = None
    experiment: str | None = None
    limit: int | None = None


def folder_preset(given: Given, device: str = "auto") -> tuple[str, list[str]]:
    """The settings file's text, and what to tell the person, a line each.

    device: as in the settings, if the person sets it.
    Raises ReclipError: an option that leads nowhere, photos or names that cannot be used.
    """
    classes = read_classes(given.classes)
    paths = list_photos(given.images, "--images")
    photos, unread = measure(paths[: given.limit], given.images)
    _check_val(given, classes)
    clip = _clip(given)
    notes = _check_names(classes, clip)
    here = Machine(
        uses_gpu(ComputeSettings(device=device)), os.cpu_count() or 1, shutil.disk_usage(".").free
    )
    choices = choose(photos, classes, clip, here)
    height, width = photos.size
    said = f"{photos.count:,} photo{'s' * (photos.count > 1)} of about {width}×{height} pixels"
    text = rendered(
        "folder",
        experiment=given.experiment or _experiment(given.images),
        photos=f"{said} and {len(classes)} classes",
        choices=choices,
        images=given.images,
        classes=[names[0] if len(names) == 1 else list(names) for names in classes],
        val_images=given.val_images,
        val_labels=given.val_labels,
        limit=given.limit,
        target="metrics.json" if given.val_images else "<stage>/receipt.json",
        flow=flow,
        comment=comment,
    )
    lines = [f"{said}; {len(classes)} classes: {listed([n[0] for n in classes], most=8)}"]
    lines += [f"{c.section}: {_brief(c)} ({c.why})" for c in choices]
    if photos.count < FEW:
        lines.append("note: so few photos are a trial; hundreds, without labels, teach more")
    if here.gpu and clip["model"] != MINI_CLIP:
        lines.append("note: if the GPU's memory does not suffice, add --set distill.batch=4")
    if unread:
        lines.append(f"note: {unread} of the photos looked at cannot be read and will be left out")
    return text, lines + notes


def measure(paths: list[Path], folder: str) -> tuple[Photos, int]:
    """Their number and median size, from the headers of some; how many of these have none.

    Raises ReclipError: none at all, or none of those that were looked at is an image.
    """
    if not paths:
        raise ReclipError(
            f"--images: '{folder}' holds no photo (no file named like JPEG, PNG, TIFF, WEBP or "
            f"BMP): name the folder that does"
        )
    sizes, problems = [], []
    for path in paths[:: -(-len(paths) // LOOKED_AT)]:
        try:
            sizes.append(image_size(path))
        except ReclipError as error:
            problems.append(error)
    if not sizes:
        raise ReclipError(
            f"--images: no photo in '{folder}' can be read (the first: {problems[0]})"
        ) from problems[0]
    middle = (int(statistics.median_low(side)) for side in zip(*sizes, strict=True))
    return Photos(len(paths), tuple(middle)), len(problems)


def flow(value: object) -> str:
    """On one line of YAML; text that YAML would take for something else is quoted."""
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w./ -]+", value) and yaml.safe_load(value) == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.strip()


def comment(text: str) -> str:
    """Lines of a YAML comment."""
    return textwrap.fill(text, 100, initial_indent="# ", subsequent_indent="# ")


def _brief(choice: Choice) -> str:
    return flow(choice.value).strip("{}")


def _experiment(images: str) -> str:
    """After the folder, as far as its name can stand in paths and commands."""
    name = Path(images).expanduser().resolve().name
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:40] or "photos"


def _check_val(given: Given, classes: Classes) -> None:
    if (given.val_images is None) != (given.val_labels is None):
        one, other = "--val-images", "--val-labels"
        if given.val_images is None:
            one, other = other, one
        raise ReclipError(f"{one} needs {other}: give photos and their label maps, or neither")
    if given.val_images is None:
        return
    for option, folder in (("val_images", given.val_images), ("val_labels", given.val_labels)):
        if not list_photos(folder, f"--{option.replace('_', '-')}"):
            raise ReclipError(f"--{option.replace('_', '-')}: '{folder}' is empty: fill it")
    others = {"--val-images": given.val_images, "--val-labels": given.val_labels}
    require_apart(given.images, others)
    label_pairs(
        FolderSource(
            kind="folder",
            images=given.images,
            classes=classes,
            val_images=given.val_images,
            val_labels=given.val_labels,
        )
    )


def _clip(given: Given) -> dict[str, str]:
    model = given.clip or DEFAULT_CLIP
    if given.checkpoint:
        if not Path(given.checkpoint).expanduser().is_file():
            raise ReclipError(f"no checkpoint '{given.checkpoint}': give a weights file's path")
        return {"model": model, "checkpoint": given.checkpoint}
    if model == MINI_CLIP:
        return {"model": model}
    if clip_release(model) is None:
        raise ReclipError(
            f"--clip: OpenAI published no weights of '{model}': name one that it did, such as "
            f"ViT-B-16, or give --checkpoint FILE"
        )
    return {"model": model, "pretrained": "openai"}


def _check_names(classes: Classes, clip: dict[str, str]) -> list[str]:
    """What to say of the names; raises ReclipError for those that CLIP cannot read."""
    notes = []
    if foreign := in_other_scripts(classes):
        if "checkpoint" not in clip:
            raise ReclipError(
                f"--classes: CLIP learned from English captions, and masks of "
                f"{listed([repr(name) for name in foreign])} would be noise: write it in English"
            )
        notes.append(f"note: only a CLIP trained on it knows {listed(foreign)}")
    long = [n for names in classes for n in names if len(n.encode()) > SHORT]
    if long:
        _require_room(long, clip)
    if clip["model"] == MINI_CLIP and "checkpoint" not in clip:
        notes.append("note: mini-clip knows drawn textures alone: on photos it shows the path")
    elif "checkpoint" not in clip:
        notes.append(f"note: the weights of {clip['model']} are downloaded once")
    return notes


def _require_room(names: list[str], clip: dict[str, str]) -> None:
    """Raises ReclipError: a name and a template are longer than the text tower's context."""
    from open_clip.tokenizer import SimpleTokenizer

    from reclip.clip.prompts import templates
    from reclip.clip.shape import clip_shape

    tokenizer, context = SimpleTokenizer(), clip_shape(clip["model"]).context
    every = templates("reclip")
    for name in names:
        tokens = max(len(tokenizer.encode(template.format(name))) for template in every) + 2
        if tokens > context:
            raise ReclipError(
                f"--classes: '{name[:60]}...' makes prompts of {tokens} tokens and CLIP reads "
                f"{context}: use fewer words"
            )
