"""mIoU against an object's distance from the image centre (as Fig. 1 (a))."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Comparison, Result, mean_and_sd

HEIGHTS = (4, 1)  # of the curves and of the counts below


def draw(comparisons: list[Comparison]) -> Figure:
    """Draw a panel a dataset: the mIoU of each method, and below it the objects of each bin."""
    figure = Figure(figsize=(style.WIDTH, 3.8))
    axes = figure.subplots(
        2, len(comparisons), sharex=True, sharey="row", squeeze=False, height_ratios=HEIGHTS
    )
    for (ax, below), comparison in zip(axes.T, comparisons, strict=True):
        for role, result in comparison.results.items():
            _curve(ax, result, result.label, style.COLOURS[role], style.MARKERS[role])
        _finish_panel(ax, below, result, comparison.dataset)
    _name_axes(*axes[:, 0])
    style.methods_legend(figure, axes[0])
    style.note(figure, "; ".join(c.runs for c in comparisons))
    return figure


def draw_curves(results: list[Result], title: str) -> Figure:
    """Draw one panel of at most len(style.SERIES) runs on one dataset, with the same bins."""
    figure = Figure(figsize=(5.2, 4.2))
    ax, below = figure.subplots(2, 1, sharex=True, height_ratios=HEIGHTS)
    for result, *look in zip(results, style.SERIES, style.SERIES_MARKERS, strict=False):
        _curve(ax, result, result.run, *look)
    _finish_panel(ax, below, results[0], title)
    _name_axes(ax, below)
    below.set_xlabel("distance from the centre (1: a corner)")
    style.methods_legend(figure, [ax])
    return figure


def _curve(ax: Axes, result: Result, label: str, colour: str, marker: str) -> None:
    """Draw the mean over seeds, with a band of one standard deviation."""
    edges, _, miou = result.distance
    centres = (edges[1:] + edges[:-1]) / 2
    mean, sd = mean_and_sd(miou)
    ax.plot(centres, mean, label=label, color=colour, marker=marker, ms=4)
    ax.fill_between(centres, mean - sd, mean + sd, color=colour, alpha=0.2, lw=0)


def _finish_panel(ax: Axes, below: Axes, result: Result, title: str) -> None:
    """Draw the number of objects in each bin below the curves; it is the same for every run."""
    edges, objects, _ = result.distance
    ax.set(xlim=(0, 1), title=title)
    ax.grid(axis="y", color=style.FAINT, lw=0.5)
    width = 0.9 * (edges[1] - edges[0])
    bars = below.bar((edges[1:] + edges[:-1]) / 2, objects, width, color=style.FAINT)
    below.bar_label(bars, fontsize=6, color=style.NOTE, padding=1)
    below.set(yticks=[], xlabel="distance from the centre")
    below.margins(y=0.35)
    below.spines["left"].set_visible(False)


def _name_axes(ax: Axes, below: Axes) -> None:
    ax.set(ylabel="mIoU (%)", ylim=(0, None))
    below.set_ylabel("objects", fontsize=8)
