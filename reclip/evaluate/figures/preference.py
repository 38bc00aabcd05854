"""Class preference and space preference of Query, + Reference, rectified and distilled masks.

`measure` takes counts of a run, `draw` and `write` what it returns. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reclip.common.tables import write_table
from reclip.evaluate import preference
from reclip.evaluate.figures import style
from reclip.evaluate.figures.measured import COLUMNS, METHODS, WHISKERS, Measured, draw_bars

PANELS = {
    "total variation": (
        "Predicted class shares are off by …\n(0: as in the truth)",
        "% of all pixels",
    ),
    "asymmetry": (
        "One class swallows another by …\n(0: as often as the reverse)",
        "points a class",
    ),
    "drop": (
        "From centre to edge, mIoU falls by …\n(0: equally good everywhere)",
        "points of mIoU",
    ),
}
"""Measure to its panel's title and y axis."""

PAIRS = 10
"""Pairs of classes in the table, a run."""

PAIR_COLUMNS = (
    "dataset", "method", "run", "rank", "class", "taken for", "percent", "reverse", "difference",
)  # fmt: skip

FIGURE, TABLE, PAIR_TABLE = "preference.png", "preference.csv", "preference-pairs.csv"


@dataclass(frozen=True)
class Preference:
    """The measured preferences of one run on one dataset, over S seeds.

    Attributes:
        role: one of METHODS.
        values: measure to (S,): "total variation" in %, "asymmetry" in points a class, "drop" in
            points, and "slope" in points from the centre to a corner.
        miou: (S, B), mIoU in percent by ring; the rings have equal width.
        pairs: the most one-sided confusions, as `preference.worst_pairs` and two class names.
    """

    dataset: str
    role: str
    run: str
    values: dict[str, np.ndarray]
    miou: np.ndarray
    pairs: list[tuple[preference.Pair, str, str]]

    def measured(self) -> Iterator[Measured]:
        """Yield every measure; then mIoU by ring."""
        edges = np.linspace(0, 1, self.miou.shape[1] + 1)
        of_rings = {
            f"mIoU {low:.4f} to {high:.4f}": values
            for low, high, values in zip(edges, edges[1:], self.miou.T, strict=False)
        }
        for name, values in (self.values | of_rings).items():
            yield Measured(self.dataset, name, self.role, self.run, values)


def measure(
    dataset: str,
    role: str,
    run: str,
    confusion: np.ndarray,
    rings: np.ndarray,
    names: Sequence[str],
) -> Preference:
    """Measure a run from its counts on the val split.

    Args:
        role: one of METHODS.
        confusion: int (S, C, C), pixels of class i predicted as j, a matrix a seed.
        rings: int (S, B, 3, C), right, predicted and labelled pixels (`reclip.evaluate.rings`).
        names: the names of the C classes.
    """
    values = {
        "total variation": preference.total_variation(confusion),
        "asymmetry": preference.asymmetry(confusion),
        "drop": preference.drop(rings),
        "slope": preference.slope(rings),
    }
    pairs = [
        (pair, names[pair.loser], names[pair.winner])
        for pair in preference.worst_pairs(confusion, PAIRS)
    ]
    return Preference(dataset, role, run, values, preference.ring_miou(rings), pairs)


def write(folder: Path, found: Sequence[Preference]) -> None:
    """Write TABLE, every measure of every run, and PAIR_TABLE, the most one-sided confusions."""
    write_table(folder / TABLE, COLUMNS, [m.row for one in found for m in one.measured()])
    rows = [
        (
            one.dataset, METHODS[one.role], one.run, rank, loser, winner,
            f"{pair.taken:.4f}", f"{pair.reverse:.4f}", f"{pair.taken - pair.reverse:.4f}",
        )
        for one in found
        for rank, (pair, loser, winner) in enumerate(one.pairs, start=1)
    ]  # fmt: skip
    write_table(folder / PAIR_TABLE, PAIR_COLUMNS, rows)


def draw(found: Sequence[Preference]) -> Figure:
    """Draw a panel a measure with a group of bars a dataset; below, mIoU by ring, a panel each."""
    datasets = list(dict.fromkeys(one.dataset for one in found))
    measured = [m for one in found for m in one.measured()]
    figure = Figure(figsize=(style.WIDTH, 6.6))
    bars, curves = figure.add_gridspec(2, 1, height_ratios=(1, 1))
    for ax, (name, (title, unit)) in zip(
        bars.subgridspec(1, len(PANELS)).subplots(), PANELS.items(), strict=True
    ):
        draw_bars(ax, [m for m in measured if m.measure == name])
        ax.set(title=title, ylabel=unit)
    axes = curves.subgridspec(1, len(datasets)).subplots(sharey=True, squeeze=False)[0]
    # Bands may end beyond: those of two seeds are wide.
    top = 1.2 * max(float(np.nan_to_num(one.miou).mean(axis=0).max()) for one in found) or 1.0
    for ax, dataset in zip(axes, datasets, strict=True):
        for one in (one for one in found if one.dataset == dataset):
            _curve(ax, one)
        ax.set(xlim=(0, 1), ylim=(0, top), title=f"{dataset}: mIoU, centre to corner")
        ax.set_xticks((0, 0.25, 0.5, 0.75, 1), ("centre", "¼", "½", "¾", "corner"))
        for end, side in ((0, "left"), (-1, "right")):  # or they run into the next panel's
            ax.get_xticklabels()[end].set_horizontalalignment(side)
        ax.grid(axis="y", color=style.FAINT, lw=0.5)
    axes[0].set_ylabel("mIoU (%)")
    roles = [role for role in METHODS if any(one.role == role for one in found)]
    names = {role: METHODS[role] for role in roles}
    if {"reference", "rectified"} <= set(roles):
        names["rectified"] += " (+ Reference + PE)"
    style.roles_legend(figure, names)
    style.note(figure, f"{WHISKERS}.", size=8)
    return figure


def _curve(ax: Axes, one: Preference) -> None:
    """Draw mIoU over the middles of the rings, with a band of the 95% interval."""
    summaries = [Measured("", "", one.role, one.run, v).summary for v in one.miou.T]
    mean = np.array([s["mean"] for s in summaries])
    middles = (np.arange(len(mean)) + 0.5) / len(mean)
    look = {"color": style.COLOURS[one.role], "marker": style.MARKERS[one.role]}
    ax.plot(middles, mean, ms=4, **look)
    if summaries[0]["low"] is not None:
        low, high = (np.array([s[key] for s in summaries]) for key in ("low", "high"))
        ax.fill_between(middles, low, high, color=look["color"], alpha=0.15, lw=0)
