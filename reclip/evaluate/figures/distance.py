"""mIoU against an object's distance from the image centre (as Fig. 1 (a))."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Comparison, Result, mean_and_sd


class Curve(NamedTuple):
    """A run's result, and how it is shown."""

    result: Result
    label: str
    colour: str
    marker: str


def draw(comparisons: list[Comparison]) -> Figure:
    """A panel a dataset: mIoU of each method, and below it how many objects a bin has."""
    figure = Figure(figsize=(style.WIDTH, 3.8))
    axes = figure.subplots(
        2, len(comparisons), sharex=True, sharey="row", squeeze=False,
        gridspec_kw={"height_ratios": (4, 1)},
    )  # fmt: skip
    for column, comparison in zip(axes.T, comparisons, strict=True):
        curves = [
            Curve(result, result.label, style.COLOURS[role], style.MARKERS[role])
            for role, result in comparison.results.items()
        ]
        _draw_panel(*column, curves, comparison.dataset)
    axes[0, 0].set(ylabel="mIoU (%)", ylim=(0, None))
    axes[1, 0].set_ylabel("objects", fontsize=8)
    handles, labels = max(
        (ax.get_legend_handles_labels() for ax in axes[0]), key=lambda entries: len(entries[0])
    )
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    style.note(figure, "; ".join(c.runs for c in comparisons))
    return figure


def draw_runs(results: list[Result], title: str) -> Figure:
    """One panel for some runs on one dataset, with the same bins; at most len(style.SERIES)."""
    figure = Figure(figsize=(5.2, 4.2))
    ax, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (4, 1)})
    looks = zip(results, style.SERIES, style.SERIES_MARKERS, strict=False)
    _draw_panel(ax, below, [Curve(r, r.run, colour, marker) for r, colour, marker in looks], title)
    ax.set(ylabel="mIoU (%)", ylim=(0, None))
    below.set_ylabel("objects", fontsize=8)
    below.set_xlabel("distance from the centre (1: a corner)")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _draw_panel(ax: Axes, below: Axes, curves: list[Curve], title: str) -> None:
    """Mean over seeds with a band of one standard deviation."""
    for result, label, colour, marker in curves:
        edges, objects, miou = result.distance
        centres = (edges[1:] + edges[:-1]) / 2
        mean, sd = mean_and_sd(miou)
        ax.plot(centres, mean, label=label, color=colour, marker=marker, ms=4)
        ax.fill_between(centres, mean - sd, mean + sd, color=colour, alpha=0.2, lw=0)
    ax.set(xlim=(0, 1), title=title)
    ax.grid(axis="y", color=style.FAINT, lw=0.5)
    bars = below.bar(centres, objects, 0.9 * (edges[1] - edges[0]), color=style.FAINT)
    below.bar_label(bars, fontsize=6, color=style.NOTE, padding=1)
    below.set(yticks=[], xlabel="distance from the centre")
    below.margins(y=0.35)
    below.spines["left"].set_visible(False)
