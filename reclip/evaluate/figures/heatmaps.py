"""Heat maps of the logits of a photo, for the report and for `reclip figure` (as Fig. 3 (b))."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure, SubFigure

from reclip.clip.feature_cache import FeatureCache
from reclip.data.images import IGNORED, read_image, read_label
from reclip.data.index import Item
from reclip.data.reading import Frame, Piece
from reclip.data.resize_maps import resize
from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Comparison
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.rectify.class_map import class_map
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import feature_frame
from reclip.rectify.upsample import upsample

PHOTOS = 2
Scale = Literal["common", "own"]


class Photo(NamedTuple):
    """An item and its position in its split."""

    split: str
    number: int
    item: Item


class Logits(NamedTuple):
    """Logits of a photo on the grid, by part: Query, Reference, positional, rectified.

    A run without Reference or positional logits lacks that part. ReCLIP++ has their product, the
    bias, in place of both.
    """

    parts: dict[str, list[Piece]]
    frame: Frame

    def masks(self) -> dict[str, np.ndarray]:
        """Return class ids (H, W) by the Query alone and by the rectified logits."""
        both = ("Query", "rectified")
        return {name: class_map(self.parts[name], self.frame).cpu().numpy() for name in both}

    def maps(self, classes: list[int]) -> dict[str, np.ndarray]:
        """Return by part the logits (len(classes), H, W) of `classes` at the photo's size."""
        return {
            name: upsample([Piece(p.window, p.logits[classes]) for p in pieces], self.frame)
            .cpu()
            .numpy()
            for name, pieces in self.parts.items()
        }


def of_rectifier(model: Rectifier, features: FeatureCache, photo: Photo) -> Logits:
    """Return the logits of a rectified CLIP."""
    windows = []
    for window, z in features.pieces(photo.split, photo.number):
        z = z.to(model.w_query.device)
        windows.append((window, z, model.positional_logits(z.shape[:2]), model(z[None])[0]))
    return _logits(model, windows, feature_frame(features, photo.split, photo.number, photo.item))


def of_student(student, teacher: Rectifier, features: FeatureCache, photo: Photo) -> Logits:
    """Return the logits of a student with its teacher's Reference, on the student's features."""
    from reclip.distill.predict import student_logits  # imports timm, which takes seconds

    windows, device, head = [], teacher.w_query.device, student.head
    given = (read_image(photo.item.image), features.image_settings, features.norm, device)
    with torch.inference_mode():
        # A student returns logits and features; the parts are computed from the features.
        pieces, frame = student_logits(lambda image: student(image)[::-1], *given)
        for window, z in pieces:
            bias = None
            if head.positional is not None:
                bias = resize(head.positional[None], z.shape[-2:])[0].permute(1, 2, 0)
            rectified = head(z[None])[0].permute(1, 2, 0)
            windows.append((window, z.permute(1, 2, 0), bias, rectified))
        return _logits(teacher, windows, frame)


def _logits(model: Rectifier, windows: list[tuple], frame: Frame) -> Logits:
    """Return the logits of windows, each with features (h, w, D) and logits (h, w, C).

    The logits of a window are positional (or None) and rectified.
    """
    parts = defaultdict(list)
    for window, z, positional, rectified in windows:
        found = {"Query": z @ model.w_query.T}
        if model.w_reference is not None and model.decoder is None:
            found["Reference"] = z @ model.w_reference.T
        if positional is not None:
            name = "positional" if model.decoder is None else "bias"
            found[name] = positional.expand_as(found["Query"])
        for name, logits in (found | {"rectified": rectified}).items():
            parts[name].append(Piece(window, logits.permute(2, 0, 1)))
    return Logits(parts, frame)


def change(logits: Logits, counted: np.ndarray | bool = True) -> tuple[float, list[int]]:
    """Return the share of pixels that rectification moves to another class, and the main move.

    The main move is the most frequent one, as classes before and after; empty if no pixel moves.

    Args:
        counted: bool (H, W), the pixels that count; True for all. No label is used.
    """
    before, after = logits.masks().values()
    changed = (before != after) & counted
    if not changed.any():
        return 0.0, []
    classes = len(logits.parts["Query"][0].logits)
    moves = before[changed].astype(np.int64) * classes + after[changed]
    move = [int(k) for k in divmod(np.bincount(moves).argmax(), classes)]
    return float(changed.sum() / np.broadcast_to(counted, changed.shape).sum()), move


def scale_of(maps: dict[str, np.ndarray], scale: Scale) -> dict[str, float]:
    """Return the end x of each part's colour scale -x to x: one for all parts, or each its own."""
    ends = {name: float(np.abs(values).max()) or 1.0 for name, values in maps.items()}
    return dict.fromkeys(ends, max(ends.values())) if scale == "common" else ends


def most_changed(
    model: Rectifier, features: FeatureCache, items: list[Item]
) -> list[tuple[Photo, float, list[int]]]:
    """Return the val photos with their `change`, most changed first; unchanged ones are dropped.

    Ignored pixels do not count. No other label is used.
    """
    found = []
    for photo in (Photo("val", number, item) for number, item in enumerate(items)):
        counted = read_label(photo.item.label) != IGNORED
        found.append((photo, *change(of_rectifier(model, features, photo), counted)))
    return sorted((f for f in found if f[2]), key=lambda f: -f[1])


def draw(comparison: Comparison, device: torch.device) -> Figure:
    """Draw the photos that rectification changes most, with the classes of the main move."""
    if "rectified" not in comparison.results:
        return style.nothing(f"{comparison.dataset} has no rectified run")
    result, names = comparison.results["rectified"], comparison.names
    first = result.evaluations[0]
    model = Rectifier.load(first.inputs["model"].folder / WEIGHTS_FILE, device)
    chosen = most_changed(model, result.features, comparison.data.items("val"))[:PHOTOS]
    if not chosen:
        return style.nothing("rectification changes no pixel")
    heights = [2.6 * photo.item.height / photo.item.width + 1.8 for photo, _, _ in chosen]
    figure = Figure(figsize=(style.WIDTH, sum(heights)))
    parts = figure.subfigures(len(chosen), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (photo, share, move) in zip(parts, chosen, strict=True):
        logits = of_rectifier(model, result.features, photo)
        _draw_photo(part, photo, logits, move, names, "own", hide_ignored=True)
        before, after = (names[k] for k in move)
        part.suptitle(
            f"{photo.item.id}: {100 * share:.0f} % of its pixels change class, most of them from "
            f"{before} to {after}"
        )
    return figure


def draw_maps(
    photo: Photo, logits: Logits, classes: list[int], names: list[str], scale: Scale, run: str
) -> Figure:
    """Draw the logits of `classes` on one photo."""
    tall = photo.item.height / photo.item.width * 8 / (2 + len(logits.parts))  # inches a map
    figure = Figure(figsize=(style.WIDTH, max(2, len(classes)) * (tall + 0.25) + 1.3))
    _draw_photo(figure, photo, logits, classes, names, scale)
    figure.suptitle(f"{photo.item.id}, {run}")
    return figure


def _draw_photo(
    part: Figure | SubFigure,
    photo: Photo,
    logits: Logits,
    classes: list[int],
    names: list[str],
    scale: Scale,
    hide_ignored: bool = False,
) -> None:
    """Draw photo, truth if known and both masks at the left; then a row a class, a column a part.

    hide_ignored: mark the ignored pixels in the masks, too.
    """
    item, maps = photo.item, logits.maps(classes)
    rows = max(2, len(classes))
    axes = part.subplots(
        rows + 1, 2 + len(maps), height_ratios=[20] * rows + [1], subplot_kw={"frame_on": False}
    )
    for ax in axes.ravel():
        ax.set(xticks=[], yticks=[])
    shown = {f"{name} mask": mask.astype(np.uint8) for name, mask in logits.masks().items()}
    if item.label is not None:
        truth = read_label(item.label)
        if hide_ignored:
            shown = {n: np.where(truth == IGNORED, IGNORED, mask) for n, mask in shown.items()}
        shown["truth"] = truth
    style.show(axes[0, 0], read_image(item.image), "photo")
    for ax, (name, ids) in zip((*axes[:2, 1], axes[1, 0]), shown.items(), strict=False):
        style.show(ax, style.mask_image(ids, names), name)
    ends = scale_of(maps, scale)
    for column, (name, values) in zip(axes.T[2:], maps.items(), strict=True):
        for ax, k, value in zip(column[:-1], classes, values, strict=False):
            drawn = style.show(ax, value, cmap="RdBu_r", vmin=-ends[name], vmax=ends[name])
            if name == "Query":
                ax.set_ylabel(names[k])
        column[0].set_title(f"{name} logits")
        if scale == "own":
            bar = part.colorbar(drawn, cax=column[-1], orientation="horizontal")
            style.signed_ends(bar, ends[name])
    if scale == "common":
        bar = part.colorbar(
            drawn, ax=axes[-1, 2:], orientation="horizontal", fraction=1, aspect=50, shrink=0.6
        )
        style.signed_ends(bar, ends["Query"])
    present = {int(k) for ids in shown.values() for k in np.unique(ids)}
    style.class_legend(part, present, names)
