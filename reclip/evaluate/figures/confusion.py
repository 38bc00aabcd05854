"""Confusion among six classes before and after rectification (as Fig. 1 (b))."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reclip.data.world import WORLDS
from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Comparison, mean_and_sd, row_shares

CLASSES = 6
SEED = 0  # of the draw of classes


def draw_classes(num_classes: int, world: str | None) -> list[int]:
    """Six classes by a seeded draw; of a mini world, three pairs of classes that look alike."""
    rng = np.random.default_rng(SEED)
    if world is None:
        drawn = rng.choice(num_classes, min(CLASSES, num_classes), replace=False)
        return sorted(drawn.tolist())
    pairs = WORLDS[world].confusable
    drawn = rng.choice(len(pairs), CLASSES // 2, replace=False)
    return [k for i in sorted(drawn) for k in pairs[i]]


def shares(confusion: np.ndarray, classes: list[int]) -> np.ndarray:
    """(S, C, C) counts to the percentage (6, 6 + 1) of a class's pixels, the mean over seeds.

    The last column is every other class; a row of NaN is a class without pixels.
    """
    mean, _ = mean_and_sd(row_shares(confusion)[:, classes])
    inside = mean[:, classes]
    return np.column_stack([inside, mean.sum(axis=1) - inside.sum(axis=1)])


def draw(comparisons: list[Comparison]) -> Figure:
    """A row a data set, a column a method; cells hold percentages of the true class's pixels."""
    methods = ("query", "rectified")
    comparisons = [c for c in comparisons if set(methods) <= set(c.results)]
    if not comparisons:
        return style.nothing("no data set has both a Query and a rectified run")
    figure = Figure(figsize=(style.WIDTH, 3.9 * len(comparisons) + 0.2))
    grid = figure.subplots(len(comparisons), len(methods), squeeze=False)
    for axes, comparison in zip(grid, comparisons, strict=True):
        classes = draw_classes(comparison.data.num_classes, comparison.data.facts.get("world"))
        names = [comparison.names[k] for k in classes]
        for ax, role in zip(axes, methods, strict=True):
            result = comparison.results[role]
            drawn = _matrix(ax, shares(result.confusion, classes), names)
            ax.set_title(f"{comparison.dataset}, {result.label}")
        axes[0].set_ylabel("true class")
        axes[1].set_yticklabels([])
    bar = figure.colorbar(
        drawn, ax=grid, location="right", shrink=0.5 / len(comparisons), aspect=12
    )
    bar.set_label("% of the true class's pixels")
    style.note(figure, "; ".join(c.runs for c in comparisons))
    return figure


def _matrix(ax: Axes, values: np.ndarray, names: list[str]):
    drawn = ax.imshow(values, cmap="Blues", vmin=0, vmax=100)
    for (i, j), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value:.0f}"
        ax.text(j, i, text, ha="center", va="center", color="white" if value > 55 else "black")
    ax.axvline(len(names) - 0.5, color="white", lw=3)
    ax.set_yticks(range(len(names)), names)
    ax.set_xticks(range(len(names) + 1), [*names, "any other"], rotation=40, ha="right")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return drawn
