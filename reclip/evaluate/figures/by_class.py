"""Results by class: confusion among six classes (as Fig. 1 (b)), and the IoU of every class."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from reclip.data.world.scenes import WORLDS
from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Comparison, Result, mean_and_sd
from reclip.evaluate.shares import row_shares

CLASSES = 6
NUMBERED = 14  # with more classes, cells are too small for numbers
LONG = 16  # letters of a name; a slanted name longer than this would run into its neighbours
SEED = 0  # of the draw of classes


def draw_classes(num_classes: int, world: str | None) -> list[int]:
    """Return six classes by a seeded draw; of a mini world, three pairs that look alike."""
    rng = np.random.default_rng(SEED)
    if world is None:
        drawn = rng.choice(num_classes, min(CLASSES, num_classes), replace=False)
        return sorted(drawn.tolist())
    pairs = WORLDS[world].confusable
    drawn = rng.choice(len(pairs), CLASSES // 2, replace=False)
    return [k for i in sorted(drawn) for k in pairs[i]]


def shares(confusion: np.ndarray, classes: list[int]) -> np.ndarray:
    """Return percentages (6, 6 + 1) of a class's pixels from counts (S, C, C), mean over seeds.

    The last column is every other class. A class without pixels has a row of NaN.
    """
    mean, _ = mean_and_sd(row_shares(confusion)[:, classes])
    inside = mean[:, classes]
    return np.column_stack([inside, mean.sum(axis=1) - inside.sum(axis=1)])


def most_confused(confusion: np.ndarray, wanted: int) -> list[int]:
    """Return up to `wanted` classes: the pairs that counts (S, C, C) confuse most, in order.

    A pair's score is the sum of two percentages: pixels of each class predicted as the other.
    Of pairs with equal scores the first counts. The two classes of a pair stand side by side.
    """
    share = np.nan_to_num(mean_and_sd(row_shares(confusion))[0])
    np.fill_diagonal(share, 0)
    rows, columns = np.triu_indices(len(share), 1)
    order = np.argsort(-(share + share.T)[rows, columns], kind="stable")
    return list(dict.fromkeys(np.stack([rows, columns], 1)[order].ravel().tolist()))[:wanted]


def draw_matrices(
    results: list[Result], classes: list[int], names: list[str], title: str
) -> Figure:
    """Draw a matrix a run, three a row.

    names: one name for each of `classes`.
    """
    columns = min(len(results), 3)
    rows = -(-len(results) // columns)
    side = max(2.4, 0.42 * len(classes)) if len(classes) <= NUMBERED else 0.11 * len(classes) + 3
    labels = 0.07 * max(map(len, names)) + 0.2
    wide = columns * (side * (1 + 1 / len(classes)) + 0.2) + labels + 1.1
    figure = Figure(figsize=(wide, rows * (side + labels + 0.6)))
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.ravel()[len(results) :]:
        ax.set_axis_off()
    for number, (ax, result) in enumerate(zip(grid.ravel(), results, strict=False)):
        drawn = _matrix(ax, result, classes, names, f"{title}, {result.run}", number % columns == 0)
        ax.set_anchor("N")  # leaves the free space below, for the names
    _colour_bar(figure, drawn, grid, shrink=0.6, aspect=14)
    return figure


def draw_confusion(comparisons: list[Comparison]) -> Figure:
    """Draw a row a dataset, a column a method; cells are percentages of the true class's pixels."""
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
            title = f"{comparison.dataset}, {result.label}"
            drawn = _matrix(ax, result, classes, names, title, ax is axes[0])
    _colour_bar(figure, drawn, grid, shrink=0.5 / len(comparisons), aspect=12)
    shown = (", ".join(c.results[role].run for role in methods) for c in comparisons)
    style.note(figure, "; ".join(shown))
    return figure


def _matrix(
    ax: Axes, result: Result, classes: list[int], names: list[str], title: str, first: bool
) -> AxesImage:
    """Draw a run's matrix. first: the first of its row, which alone names the true classes."""
    values = shares(result.confusion, classes)
    labels = [*names, "any other"]
    if len(classes) == result.confusion.shape[-1]:  # there is no other class
        values, labels = values[:, :-1], names
    drawn = ax.imshow(values, cmap="Blues", vmin=0, vmax=100)
    if labels is not names:
        ax.axvline(len(names) - 0.5, color="white", lw=3)
    numbered = len(names) <= NUMBERED
    for (i, j), value in np.ndenumerate(values if numbered else np.empty((0, 0))):
        text = "–" if np.isnan(value) else f"{value:.0f}"
        ax.text(j, i, text, ha="center", va="center", color="white" if value > 55 else "black")
    ax.set_yticks(range(len(names)), names if first else [""] * len(names))
    upright = not numbered or max(map(len, names)) > LONG
    turn = {"rotation": 90, "ha": "center"} if upright else {"rotation": 40, "ha": "right"}
    ax.set_xticks(range(len(labels)), labels, **turn)
    ax.tick_params(length=0, labelsize=8 if numbered else 6)
    ax.spines[:].set_visible(False)
    ax.set(title=title, ylabel="true class" if first else "")
    return drawn


def _colour_bar(figure: Figure, drawn: AxesImage, grid: np.ndarray, **look: float) -> None:
    bar = figure.colorbar(drawn, ax=grid, location="right", **look)
    bar.set_label("% of the true class's pixels")


def draw_iou(comparisons: list[Comparison]) -> Figure:
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
