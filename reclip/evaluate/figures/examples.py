"""Photos with their truth and their masks by each method (as Fig. 3 (a))."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

from reclip.data.images import IGNORED, read_image, read_label
from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Comparison, evenly_spaced

PHOTOS = 6


def draw(comparison: Comparison, device: torch.device) -> Figure:
    """Draw a row a photo: image, truth, and the mask of each run's first seed."""
    items = comparison.data.items("val")
    names = comparison.names
    chosen = [(i, items[i]) for i in evenly_spaced(len(items), PHOTOS)]
    predict = {r.label: next(r.predictors(device)) for r in comparison.results.values()}
    columns = 2 + len(predict)
    shapes = [item.height / item.width for _, item in chosen]
    width = (style.WIDTH - 0.3) / columns
    figure = Figure(figsize=(style.WIDTH, sum(width * s + 0.1 for s in shapes) + 1))
    axes = figure.subplots(len(chosen), columns, squeeze=False, height_ratios=shapes)
    present: set[int] = set()
    for row, (i, item) in zip(axes, chosen, strict=True):
        masks = {"truth": (truth := read_label(item.label))}
        for label, of in predict.items():
            with torch.inference_mode():
                mask = of(i, item).cpu().numpy().astype(np.uint8)
            masks[label] = np.where(truth == IGNORED, IGNORED, mask)
        style.show(row[0], read_image(item.image))
        row[0].set_ylabel(item.id, fontsize=7, color=style.NOTE)
        for ax, mask in zip(row[1:], masks.values(), strict=True):
            style.show(ax, style.mask_image(mask, names))
            present |= set(np.unique(mask).tolist())
    for ax, title in zip(axes[0], ("image", *masks), strict=True):
        ax.set_title(title)
    style.class_legend(figure, present, names)
    return figure
