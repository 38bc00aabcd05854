"""The planted biases that remain after rectification and distillation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import ROLES, Comparison, mean_and_sd
from reclip.evaluate.figures.planted import (
    companion_excess,
    frequency_slope,
    hypothesis_excess,
    object_recalls,
    place_preference,
    planted_facts,
)

PANELS = {
    "frequency": ("class frequency", "slope over log frequency", 2),
    "companion": ("co-occurrence", "points, companion − reverse", 1),
    "place": ("place", "points, usual − other place", 1),
    "hypotheses": ("hypotheses (image level)", "points, companion − reverse", 1),
}
"""Bias to its panel's title, its y axis, and the digits of its numbers."""

COLUMNS = ("dataset", "bias", "method", "run", "value", "sd", "seeds")


@dataclass(frozen=True)
class Measured:
    """One bias of one run on one dataset, by seed."""

    dataset: str
    bias: str
    role: str
    run: str
    values: np.ndarray

    @property
    def row(self) -> tuple:
        """The row of bias.csv, in the order of COLUMNS; no standard deviation for a single seed."""
        mean, sd = mean_and_sd(self.values)
        spread = f"{sd:.4f}" if len(self.values) > 1 else ""
        method = ROLES[self.role]
        return self.dataset, self.bias, method, self.run, f"{mean:.4f}", spread, len(self.values)


def measure(comparisons: list[Comparison], device: torch.device) -> list[Measured]:
    """Measure every bias of every run on the mini worlds; runs on other datasets are skipped."""
    found = []
    for comparison in comparisons:
        if "world" not in comparison.data.facts:
            continue
        facts = planted_facts(comparison.names)
        query = comparison.results.get("query")
        if query is not None:
            values = np.array([hypothesis_excess(*query.hypotheses, facts)])
            found.append(Measured(comparison.dataset, "hypotheses", "query", query.run, values))
        for role, result in comparison.results.items():
            objects = object_recalls(comparison, result, device)
            values = {
                "frequency": [frequency_slope(m, facts) for m in result.confusion],
                "companion": [companion_excess(m, facts) for m in result.confusion],
                "place": [place_preference(o, facts) for o in objects],
            }
            found += [
                Measured(comparison.dataset, bias, role, result.run, np.array(by_seed))
                for bias, by_seed in values.items()
            ]
    return found


def draw(measured: list[Measured]) -> Figure:
    """Draw a panel a bias, a group of bars a dataset, a bar a method."""
    if not measured:
        return style.nothing("this CLIP or these datasets have no planted biases")
    figure = Figure(figsize=(style.WIDTH, 5.8))
    datasets = list(dict.fromkeys(m.dataset for m in measured))
    axes = figure.subplots(2, 2).ravel()
    for ax, (bias, (title, unit, digits)) in zip(axes, PANELS.items(), strict=True):
        for offset, role in enumerate(ROLES):
            of = {m.dataset: m for m in measured if (m.bias, m.role) == (bias, role)}
            if not of:
                continue
            at = [datasets.index(dataset) + 0.27 * (offset - 1) for dataset in of]
            means, sds = zip(*(mean_and_sd(m.values) for m in of.values()), strict=True)
            bars = ax.bar(
                at, means, 0.25, yerr=sds, color=style.COLOURS[role], label=ROLES[role],
                error_kw={"lw": 0.8},
            )  # fmt: skip
            ax.bar_label(bars, [style.number(m, digits) for m in means], fontsize=6, padding=1)
        ax.axhline(0, color="black", lw=0.8)
        ax.set_xticks(range(len(datasets)), datasets)
        ax.tick_params(axis="x", length=0)
        ax.margins(y=0.12)
        ax.set_xlim(-0.5, len(datasets) - 0.5)
        ax.set(title=title, ylabel=unit)
    style.methods_legend(figure, axes[:1])
    style.note(figure, "0: the method does not show the bias")
    return figure
