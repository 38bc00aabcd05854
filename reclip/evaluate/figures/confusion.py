"""Confusion among six classes before and after rectification (as Fig. 1 (b))."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reclip.data.world.scenes import WORLDS
from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Comparison, Result, mean_and_sd, row_shares

CLASSES = 6
NUMBERED = 14  # with more classes, cells are too small for numbers
LONG = 16  # letters of a name; a longer one, written aslant, would reach below its neighbours
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


def most_confused(confusion: np.ndarray, wanted: int) -> list[int]:
    """Up to `wanted` classes: those of the pairs that (S, C, C) counts confuse most.

    A pair counts by the percentages of either's pixels that are predicted as the other, added up;
    of equal ones the first. Classes are in the order of the pairs, the two of a pair side by side.
    """
    share = np.nan_to_num(mean_and_sd(row_shares(confusion))[0])
    np.fill_diagonal(share, 0)
    rows, columns = np.triu_indices(len(share), 1)
    found: list[int] = []
    for i in np.argsort(-(share + share.T)[rows, columns], kind="stable"):
        pair = (int(rows[i]), int(columns[i]))
        found += [k for k in pair if k not in found]
        if len(found) >= wanted:
            break
    return found[:wanted]


def draw_runs(results: list[Result], classes: list[int], names: list[str], title: str) -> Figure:
    """A matrix a run, three a line, of `classes`, of which `names` has one each."""
    columns = min(len(results), 3)
    lines = -(-len(results) // columns)
    side = max(2.4, 0.42 * len(classes)) if len(classes) <= NUMBERED else 0.11 * len(classes) + 3
    labels = 0.07 * max(map(len, names)) + 0.2
    wide = columns * (side * (1 + 1 / len(classes)) + 0.2) + labels + 1.1
    figure = Figure(figsize=(wide, lines * (side + labels + 0.6)))
    grid = figure.subplots(lines, columns, squeeze=False)
    for ax in grid.ravel()[len(results) :]:
        ax.set_axis_off()
    for number, (ax, result) in enumerate(zip(grid.ravel(), results, strict=False)):
        values = shares(result.confusion, classes)
        if len(classes) == result.confusion.shape[-1]:
            values = values[:, :-1]  # there is no other class
        drawn = _matrix(ax, values, names)
        ax.set_title(f"{title}, {result.run}")
        ax.set_anchor("N")  # what is left over is for the names below
        if number % columns:
            ax.set_yticklabels([])
        else:
            ax.set_ylabel("true class")
    bar = figure.colorbar(drawn, ax=grid, location="right", shrink=0.6, aspect=14)
    bar.set_label("% of the true class's pixels")
    return figure


def draw(comparisons: list[Comparison]) -> Figure:
    """A row a dataset, a column a method; cells hold percentages of the true class's pixels."""
    methods = ("query", "rectified")
    comparisons = [c for c in comparisons if set(methods) <= set(c.results)]
    if not comparisons:
        return style.nothing("no dataset has both a Query and a rectified run")
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
    shown = (", ".join(c.results[role].run for role in methods) for c in comparisons)
    style.note(figure, "; ".join(shown))
    return figure


def _matrix(ax: Axes, values: np.ndarray, names: list[str]):
    drawn = ax.imshow(values, cmap="Blues", vmin=0, vmax=100)
    numbered = len(names) <= NUMBERED
    for (i, j), value in np.ndenumerate(values if numbered else np.empty((0, 0))):
        text = "–" if np.isnan(value) else f"{value:.0f}"
        ax.text(j, i, text, ha="center", va="center", color="white" if value > 55 else "black")
    labels = [*names, "any other"][: values.shape[1]]
    if len(labels) > len(names):
        ax.axvline(len(names) - 0.5, color="white", lw=3)
    ax.set_yticks(range(len(names)), names)
    upright = not numbered or max(map(len, names)) > LONG
    turn = {"rotation": 90, "ha": "center"} if upright else {"rotation": 40, "ha": "right"}
    ax.set_xticks(range(len(labels)), labels, **turn)
    ax.tick_params(length=0)
    if not numbered:
        ax.tick_params(labelsize=6)
    ax.spines[:].set_visible(False)
    return drawn
