"""Heat maps of the logits of two competing classes (as Fig. 3 (b))."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure, SubFigure

from reclip.clip.feature_cache import FeatureCache
from reclip.data.images import IGNORED, read_image, read_label
from reclip.data.index import Item
from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Comparison
from reclip.pipeline.artifacts import seed_file
from reclip.rectify.model import Rectifier, positional_logits
from reclip.rectify.predict import Piece, class_map, feature_frame, upsample

PHOTOS = 2


@dataclass(frozen=True)
class Changed:
    """A photo that rectification changes: its number, the share of its pixels that change class,
    and the most frequent change."""

    number: int
    share: float
    before: int
    after: int


def draw(comparison: Comparison, device: torch.device) -> Figure:
    """For the photos that change most, both classes' logits: Query, Reference, positional, all."""
    if "rectified" not in comparison.results:
        return style.nothing(f"{comparison.dataset} has no rectified run")
    job = comparison.results["rectified"].job
    weights = seed_file(job.inputs["model"].folder, job.settings["seeds"][0])
    model = Rectifier.load(weights, device)
    items = comparison.data.items("val")
    chosen = most_changed(model, comparison.features, items)[:PHOTOS]
    if not chosen:
        return style.nothing("rectification changes no pixel")
    photos = [items[changed.number] for changed in chosen]
    heights = [2.6 * photo.height / photo.width + 1.8 for photo in photos]
    figure = Figure(figsize=(style.WIDTH, sum(heights)))
    parts = figure.subfigures(len(chosen), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, photo, changed in zip(parts, photos, chosen, strict=True):
        _draw_photo(part, model, comparison, photo, changed)
    return figure


def most_changed(model: Rectifier, features: FeatureCache, items: list[Item]) -> list[Changed]:
    """Photos by the share of their pixels that Query and rectified logits class differently.

    Ignored pixels do not count. No label but "ignored" is looked at.
    """
    classes, found = len(model.w_query), []
    for number, item in enumerate(items):
        frame = feature_frame(features, "val", number, item)
        parts = logit_parts(model, features, number)
        before, after = (
            class_map(parts[name], frame).cpu().numpy() for name in ("Query", "rectified")
        )
        counted = read_label(item.label) != IGNORED
        changed = (before != after) & counted
        if changed.any():
            pairs = before[changed].astype(np.int64) * classes + after[changed]
            pair = np.bincount(pairs).argmax()
            share = float(changed.sum() / counted.sum())
            found.append(Changed(number, share, *(int(k) for k in divmod(pair, classes))))
    return sorted(found, key=lambda c: -c.share)


def logit_parts(
    model: Rectifier, features: FeatureCache, number: int, split: str = "val"
) -> dict[str, list[Piece]]:
    """Logits of an image, in pieces: those that the rectified ones are made of, and these."""
    parts: dict[str, list[Piece]] = {}
    for window, z in features.pieces(split, number):
        z = z.to(model.w_query.device)
        found = {"Query": z @ model.w_query.T}
        if model.w_reference is not None:
            found["Reference"] = z @ model.w_reference.T
        if model.positional is not None:
            grid = z.shape[:2]
            m_p = positional_logits(
                model.positional, model.positional_embedding, model.native_grid, grid
            )
            found["positional"] = m_p.expand(*grid, len(model.w_query))
        found["rectified"] = model.logits(z[None])[0]
        for name, logits in found.items():
            parts.setdefault(name, []).append(Piece(window, logits.permute(2, 0, 1)))
    return parts


def _draw_photo(
    part: SubFigure, model: Rectifier, comparison: Comparison, item: Item, changed: Changed
) -> None:
    features, number = comparison.features, changed.number
    frame = feature_frame(features, "val", number, item)
    maps = {
        name: upsample(pieces, frame).cpu().numpy()
        for name, pieces in logit_parts(model, features, number).items()
    }
    truth = read_label(item.label)
    masks = {
        name: np.where(truth == IGNORED, IGNORED, maps[name].argmax(0)).astype(np.uint8)
        for name in ("Query", "rectified")
    }
    axes = part.subplots(3, 2 + len(maps), gridspec_kw={"height_ratios": (20, 20, 1)})
    names = comparison.names
    style.show(axes[0, 0], read_image(item.image), "image")
    style.show(axes[1, 0], style.mask_image(truth, names), "truth")
    for ax, (name, mask) in zip(axes[:2, 1], masks.items(), strict=True):
        style.show(ax, style.mask_image(mask, names), f"{name} mask")
    pair = (changed.before, changed.after)
    for column, (name, logits) in zip(axes.T[2:], maps.items(), strict=True):
        low, high = logits[list(pair)].min(), logits[list(pair)].max()
        for ax, k in zip(column[:2], pair, strict=True):
            drawn = ax.imshow(logits[k], cmap="viridis", vmin=low, vmax=high)
            style.bare(ax)
            ax.set_title(f"{name} logits" if k == changed.before else "")
        bar = part.colorbar(drawn, cax=column[2], orientation="horizontal")
        bar.set_ticks([low, high], labels=[style.number(v, 2) for v in (low, high)])
        bar.ax.tick_params(labelsize=7, length=2)
        bar.outline.set_visible(False)
    for ax, k in zip(axes[:2, 2], pair, strict=True):
        ax.set_ylabel(names[k])
    for ax in axes[2, :2]:
        ax.set_axis_off()
    shown = {int(k) for mask in (truth, *masks.values()) for k in np.unique(mask)}
    entries = style.class_patches(shown, names)
    part.legend(handles=entries, loc="outside lower center", ncols=7, columnspacing=1.2)
    part.suptitle(
        f"{item.id}: {100 * changed.share:.0f} % of its pixels change class, most of them from "
        f"{names[changed.before]} to {names[changed.after]}"
    )
