"""Heat maps of the logits of one photo and chosen classes (as Fig. 3 (b)), with or without labels.

A photo is an item of either split; its parts are logits on the grid, by name (see `logit_parts`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from reclip.clip.feature_cache import FeatureCache
from reclip.data.images import read_image, read_label
from reclip.data.index import Item
from reclip.data.views import resize
from reclip.evaluate.figures import style
from reclip.evaluate.figures.heatmaps import logit_parts
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import Frame, Piece, class_map, feature_frame, upsample

MASKS = ("Query", "rectified")
Scale = Literal["common", "own"]


class Photo(NamedTuple):
    """An item of a split, by its number there."""

    split: str
    number: int
    item: Item


class Logits(NamedTuple):
    """Query, Reference, positional and rectified logits, as far as there are such, by name."""

    parts: dict[str, list[Piece]]
    frame: Frame

    def masks(self) -> dict[str, np.ndarray]:
        """Class ids (H, W) by the Query alone and by the rectified logits."""
        return {name: class_map(self.parts[name], self.frame).cpu().numpy() for name in MASKS}

    def maps(self, classes: list[int]) -> dict[str, np.ndarray]:
        """By part, the logits (len(classes), H, W) of some classes at the photo's size."""
        return {
            name: upsample([Piece(p.window, p.logits[classes]) for p in pieces], self.frame)
            .cpu()
            .numpy()
            for name, pieces in self.parts.items()
        }


def of_rectifier(model: Rectifier, features: FeatureCache, photo: Photo) -> Logits:
    """The logits of the rectified CLIP."""
    parts = logit_parts(model, features, photo.number, photo.split)
    return Logits(parts, feature_frame(features, photo.split, photo.number, photo.item))


def of_student(student, teacher: Rectifier, features: FeatureCache, photo: Photo) -> Logits:
    """The logits of a student that inherits its teacher's Reference, on the student's features."""
    from reclip.distill.predict import student_logits  # timm: seconds

    device = teacher.w_query.device
    given = (read_image(photo.item.image), features.image_settings, features.norm, device)
    with torch.inference_mode():
        # A student gives logits and features: of these, the parts are made.
        pieces, frame = student_logits(lambda image: student(image)[::-1], *given)
        parts: dict[str, list[Piece]] = {}
        for window, z in pieces:
            found = {"Query": torch.einsum("cd,dhw->chw", teacher.w_query, z)}
            found["Reference"] = torch.einsum("cd,dhw->chw", teacher.w_reference, z)
            if student.head.positional is not None:
                found["positional"] = resize(student.head.positional[None], z.shape[-2:])[0]
                found["positional"] = found["positional"].expand_as(found["Query"])
            found["rectified"] = student.head(z[None])[0]
            for name, logits in found.items():
                parts.setdefault(name, []).append(Piece(window, logits))
    return Logits(parts, frame)


def change(logits: Logits) -> tuple[float, list[int]]:
    """Share of pixels that rectification moves to another class, and the most frequent move.

    The classes are none if no pixel moves. No label is looked at.
    """
    before, after = logits.masks().values()
    changed = before != after
    if not changed.any():
        return 0.0, []
    classes = len(logits.parts["Query"][0].logits)
    pairs = before[changed].astype(np.int64) * classes + after[changed]
    return float(changed.mean()), [int(k) for k in divmod(np.bincount(pairs).argmax(), classes)]


def scale_of(maps: dict[str, np.ndarray], scale: Scale) -> dict[str, tuple[float, float]]:
    """The ends of each part's colours: around 0, the same for all parts or each part's own."""
    ends = {name: float(np.abs(values).max()) or 1.0 for name, values in maps.items()}
    if scale == "common":
        ends = dict.fromkeys(ends, max(ends.values()))
    return {name: (-end, end) for name, end in ends.items()}


def draw(
    photo: Photo, logits: Logits, classes: list[int], names: list[str], scale: Scale, run: str
) -> Figure:
    """Photo, truth where there is one, and masks; then a line a class and a column a part."""
    item, maps = photo.item, logits.maps(classes)
    limits = scale_of(maps, scale)
    truth = None if item.label is None else read_label(item.label)
    pictures = {"truth": truth} if truth is not None else {}
    pictures |= {f"{name} mask": mask for name, mask in logits.masks().items()}
    columns = max(1 + len(pictures), len(maps))
    width = (style.WIDTH - 0.4) / columns
    tall = width * item.height / item.width
    lines = 1 + len(classes)
    figure = Figure(figsize=(style.WIDTH, lines * (tall + 0.25) + 1.5))
    ratios = [*[tall] * lines, 0.08]
    axes = figure.subplots(lines + 1, columns, squeeze=False, height_ratios=ratios)
    for ax in axes.ravel():
        ax.set_axis_off()
    style.show(_on(axes[0, 0]), read_image(item.image), "photo")
    for ax, (name, mask) in zip(axes[0, 1:], pictures.items(), strict=False):
        style.show(_on(ax), style.mask_image(mask.astype(np.uint8), names), name)
    for column, (name, values) in zip(axes.T, maps.items(), strict=False):
        low, high = limits[name]
        for line, (ax, k) in enumerate(zip(column[1:-1], classes, strict=True)):
            drawn = _on(ax).imshow(values[line], cmap="RdBu_r", vmin=low, vmax=high)
            style.bare(ax)
            ax.set_title("" if line else f"{name} logits")
            if column is axes.T[0] or name == "Query":
                ax.set_ylabel(names[k])
        if scale == "own":
            bar = figure.colorbar(drawn, cax=_on(column[-1]), orientation="horizontal")
            _label(bar, high)
    if scale == "common":
        bar = figure.colorbar(
            drawn, ax=axes[-1, :], orientation="horizontal", fraction=1, aspect=50, shrink=0.6
        )
        _label(bar, high)
    shown = {int(k) for mask in pictures.values() for k in np.unique(mask)}
    entries = style.class_patches(sorted(shown), names)
    figure.legend(handles=entries, loc="outside lower center", ncols=5, columnspacing=1.2)
    figure.suptitle(f"{item.id}, {run}")
    return figure


def _on(ax):
    ax.set_axis_on()
    return ax


def _label(bar, end: float) -> None:
    """The ends and 0 in numbers."""
    digits = 2 if end >= 0.1 else 3
    ends = (-end, 0.0, end)
    bar.set_ticks(ends, labels=["0" if v == 0 else style.number(v, digits) for v in ends])
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)
