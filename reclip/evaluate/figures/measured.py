"""A measure of a run by seed: its row in a table, and its bar beside those of other methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from reclip.evaluate.figures import style
from reclip.evaluate.statistics import summarise

METHODS = {
    "query": "Query",
    "reference": "+ Reference",
    "rectified": "rectified",
    "distilled": "distilled",
}
"""Role to its name in tables, in the order of the figures."""

COLUMNS = ("dataset", "measure", "method", "run", "seeds", "mean", "low", "high", "values")
"""`low` and `high` end the 95% interval of the mean; `values` are those of the seeds, in order."""

WHISKERS = "Whiskers: 95% interval of the mean over seeds; a single seed has none"


@dataclass(frozen=True)
class Measured:
    """One measure of one run on one dataset; `values` are (S,), one a seed."""

    dataset: str
    measure: str
    role: str
    run: str
    values: np.ndarray

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Mean and interval over the seeds (see `reclip.evaluate.statistics`)."""
        return summarise(self.values.tolist())

    @property
    def row(self) -> tuple:
        """The row of a table, in the order of COLUMNS; empty where there is no number."""
        found = self.summary
        ends = [_text(found[key]) for key in ("mean", "low", "high")]
        values = " ".join(_text(value) or "nan" for value in self.values)
        return (
            self.dataset, self.measure, METHODS[self.role], self.run, found["n"], *ends, values,
        )  # fmt: skip


def _text(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.4f}"


def draw_bars(ax: Axes, measured: Sequence[Measured], digits: int = 0) -> None:
    """Draw a group of bars a dataset and a bar a method, each with its mean as a number.

    measured: one measure of several runs, at most one of each role and dataset.
    """
    datasets = list(dict.fromkeys(m.dataset for m in measured))
    roles = [role for role in METHODS if any(m.role == role for m in measured)]
    width = min(0.28, 0.84 / max(1, len(roles)))
    for k, role in enumerate(roles):
        of = [m for m in measured if m.role == role]
        at = [datasets.index(m.dataset) + width * (k - (len(roles) - 1) / 2) for m in of]
        means = [m.summary["mean"] for m in of]
        ends = [m.summary["high"] for m in of]
        halves = [0.0 if end is None else end - mean for mean, end in zip(means, ends, strict=True)]
        bars = ax.bar(
            at, means, 0.92 * width, yerr=halves, color=style.COLOURS[role], error_kw={"lw": 1},
        )  # fmt: skip
        ax.bar_label(bars, [style.number(m, digits) for m in means], fontsize=7, padding=2)
    ax.axhline(0, color="black", lw=0.8)
    ax.set_xticks(range(len(datasets)), datasets)
    ax.tick_params(axis="x", length=0)
    ax.margins(y=0.12)
    ax.set_xlim(-0.5, max(1, len(datasets)) - 0.5)
