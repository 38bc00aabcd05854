"""IoU of every class by each method."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Comparison, mean_and_sd


def draw(comparisons: list[Comparison]) -> Figure:
    """Draw a panel a dataset, a row a class: mean over seeds, whiskers of one deviation."""
    most = max(c.data.num_classes for c in comparisons)
    figure = Figure(figsize=(style.WIDTH, 0.19 * most + 1.2))
    axes = figure.subplots(1, len(comparisons), squeeze=False)[0]
    for ax, comparison in zip(axes, comparisons, strict=True):
        rows = np.arange(comparison.data.num_classes)
        ax.hlines(rows, 0, 100, color=style.FAINT, lw=0.5)
        for role, result in comparison.results.items():
            mean, sd = mean_and_sd(result.iou)
            ax.errorbar(
                mean, rows, xerr=sd, fmt=style.MARKERS[role], ms=4, lw=0.8,
                color=style.COLOURS[role], label=result.label,
            )  # fmt: skip
        ax.set_yticks(rows, comparison.names, fontsize=7)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.set(xlim=(0, 100), ylim=(most - 0.4, -0.6), xlabel="IoU (%)", title=comparison.dataset)
    style.methods_legend(figure, axes)
    style.note(figure, "; ".join(c.runs for c in comparisons))
    return figure
