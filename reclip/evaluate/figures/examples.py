"""Photos with their truth and their masks by each method (as Fig. 3 (a)), chosen by a rule.

For each stage the val photos are ranked by the stage's gain in the photo's own mIoU. The photos at
the upper quartile, the median and the lower quartile are shown. So the choice reads labels; nothing
else depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from reclip.data.images import IGNORED, read_image, read_label
from reclip.data.index import Item
from reclip.evaluate.counts import Counts
from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import ROLES, Comparison, evenly_spaced
from reclip.evaluate.metrics import iou
from reclip.evaluate.predictors import Predictor

STAGES = {
    "Rectification": ("rectified", "query"),
    "Distillation": ("distilled", "rectified"),
}
"""Stage to the roles whose masks are after it and before it."""

QUANTILES = {"upper quartile": 0.75, "median": 0.5, "lower quartile": 0.25}

# Lengths in inches.
LABEL, GAP, MARGIN = 1.0, 0.09, 0.06  # of the rows' labels, between pictures, at the borders
HEADING, TITLES, SCORE, ENTRY = 0.36, 0.22, 0.26, 0.2  # heights of lines of text


def photo_miou(pred: torch.Tensor | np.ndarray, label: np.ndarray, num_classes: int) -> float:
    """Return the mIoU of one photo, in percent, over the classes in its label map (H, W).

    NaN if the label map holds no class.
    """
    counts = Counts(num_classes)
    counts.update(pred, label)
    labelled = counts.confusion.sum(axis=1) > 0
    return 100 * float(iou(counts.confusion)[labelled].mean()) if labelled.any() else math.nan


def at_quantiles(gains: np.ndarray, ids: Sequence[str]) -> dict[str, int]:
    """Return the photo at each of QUANTILES of the gains (N,); of equal gains, by id.

    A photo whose gain is NaN has no rank. Of few photos, one may stand for several quantiles.
    """
    ranked = sorted(np.flatnonzero(~np.isnan(gains)), key=lambda i: (gains[i], ids[i]))
    last = len(ranked) - 1
    return {name: int(ranked[round(q * last)]) for name, q in QUANTILES.items() if ranked}


@dataclass(frozen=True)
class Row:
    """A photo to show: its number in the split, a label, and the roles that it compares."""

    number: int
    label: str
    compared: tuple[str, ...] = ()


def choose(scores: Mapping[str, np.ndarray], ids: Sequence[str]) -> dict[str, list[Row]]:
    """Return the rows below each heading, from mIoU (N,) of every photo by role.

    Without two methods to compare, they are three photos at equal distances in the list.
    """
    blocks = {}
    for stage, (after, before) in STAGES.items():
        if after not in scores or before not in scores:
            continue
        gains = scores[after] - scores[before]
        gain = f"{ROLES[after]} − {ROLES[before]}"
        heading = f"{stage}: photos ranked by what it adds to their mIoU ({gain})"
        blocks[heading] = [
            Row(i, f"{name}\n{_signed(gains[i])} points", (before, after))
            for name, i in at_quantiles(gains, ids).items()
        ]
    if not any(blocks.values()):
        chosen = evenly_spaced(len(ids), len(QUANTILES))
        blocks = {"Photos at equal distances in the list": [Row(i, ids[i]) for i in chosen]}
    return blocks


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + style.number(value, 1)


def draw(comparison: Comparison, device: torch.device) -> Figure:
    """Draw a row a photo: image, truth, and the mask of each run's first seed with its mIoU."""
    items, names = comparison.data.items("val"), comparison.names
    predict = {role: next(r.predictors(device)) for role, r in comparison.results.items()}
    scores = {role: np.full(len(items), math.nan) for role in predict}
    for i, item in enumerate(items):
        label = read_label(item.label)
        for role, of in predict.items():
            scores[role][i] = photo_miou(_mask(of, i, item), label, len(names))
    blocks = choose(scores, [item.id for item in items])
    shown = {row.number for rows in blocks.values() for row in rows}
    masks = {
        i: {role: _mask(of, i, items[i]) for role, of in predict.items()} for i in sorted(shown)
    }
    return _draw(blocks, items, masks, scores, names)


def _mask(predict: Predictor, number: int, item: Item) -> np.ndarray:
    with torch.inference_mode():
        return predict(number, item).cpu().numpy().astype(np.uint8)


def _draw(
    blocks: Mapping[str, list[Row]],
    items: Sequence[Item],
    masks: Mapping[int, Mapping[str, np.ndarray]],
    scores: Mapping[str, np.ndarray],
    names: Sequence[str],
) -> Figure:
    """Draw the chosen photos; masks and scores are by role, those of a photo also by number."""
    side = (style.WIDTH - 2 * MARGIN - LABEL) / (2 + len(scores)) - GAP
    rows = [row for of_block in blocks.values() for row in of_block]
    heights = {i: side * min(1.0, items[i].height / items[i].width) for i in masks}
    truths = {i: read_label(items[i].label) for i in masks}
    present = {int(k) for i in masks for k in np.unique(truths[i])}
    for i, of_photo in masks.items():
        present |= {int(k) for m in of_photo.values() for k in np.unique(m[truths[i] != IGNORED])}
    columns, lines = style.legend_shape(present, names)
    below = MARGIN + lines * ENTRY + 0.3
    height = TITLES + MARGIN + below + HEADING * len(blocks)
    height += sum(heights[row.number] + SCORE for row in rows)
    figure = Figure(figsize=(style.WIDTH, height), layout="none")

    def text(x: float, y: float, said: str, **look) -> None:
        figure.text(x / style.WIDTH, y / height, said, **look)

    lefts = [MARGIN + LABEL + k * (side + GAP) for k in range(2 + len(scores))]
    y = height - MARGIN - TITLES
    titles = ("image", "truth", *(ROLES[role] for role in scores))
    for left, title in zip(lefts, titles, strict=True):
        text(left + side / 2, y + 0.06, title, ha="center", fontsize=11)
    for heading, of_block in blocks.items():
        y -= HEADING
        text(MARGIN, y + 0.12, heading, fontsize=10, fontweight="bold")
        for row in of_block:
            i, high = row.number, heights[row.number]
            y -= high
            text(MARGIN, y + high / 2, row.label, va="center", fontsize=9.5, linespacing=1.5)
            pictures = [read_image(items[i].image), style.mask_image(truths[i], names)]
            for mask in masks[i].values():
                masked = np.where(truths[i] == IGNORED, IGNORED, mask)
                pictures.append(style.mask_image(masked, names))
            for left, picture in zip(lefts, pictures, strict=True):
                ax = figure.add_axes(
                    (left / style.WIDTH, y / height, side / style.WIDTH, high / height)
                )
                style.show(ax, picture)
            for left, role in zip(lefts[2:], scores, strict=True):
                bold = {"fontweight": "bold"} if role in row.compared else {"color": style.NOTE}
                said = f"mIoU {style.number(scores[role][i], 1)}"
                text(left + side / 2, y - 0.05, said, ha="center", va="top", fontsize=9, **bold)
            y -= SCORE
    figure.legend(
        handles=style.class_patches(present, names), ncols=columns, fontsize=9,
        loc="lower center", bbox_to_anchor=(0.5, 0.25 / height), columnspacing=1.2,
    )  # fmt: skip
    if any(row.compared for row in rows):
        note = (
            "A quarter of the photos gains more than that at the upper quartile, a quarter less "
            "than that at the lower one. The choice reads labels, for this picture only."
        )
        text(style.WIDTH / 2, 0.08, note, ha="center", fontsize=8, color=style.NOTE)
    return figure
