"""The planted biases of mini-clip that remain in a run's predictions: measures and figure.

The benchmark's scenes are uniform. A method without the bias therefore measures 0, up to chance.
The definitions are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from reclip.common.files import read_json
from reclip.data.images import read_label
from reclip.data.world.bias import PlantedBias, deal_roles
from reclip.data.world.scenes import WORLDS
from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import ROLES, Comparison, Result, mean_and_sd, row_shares
from reclip.evaluate.location import centre_distance
from reclip.weights.identity import PACKAGED

PANELS = {
    "frequency": ("class frequency", "slope over log frequency", 2),
    "companion": ("co-occurrence", "points, companion − reverse", 1),
    "place": ("place", "points, usual − other place", 1),
    "hypotheses": ("hypotheses (image level)", "points, companion − reverse", 1),
}
"""Bias to its panel's title, its y axis, and the digits of its numbers."""

COLUMNS = ("dataset", "bias", "method", "run", "value", "sd", "seeds")

NEAR = 0.5
"""An object closer than this distance (see `reclip.evaluate.location`) is near the centre."""


@dataclass(frozen=True)
class Planted:
    """The planted biases of the C classes of one dataset."""

    frequency: np.ndarray
    """Relative frequency (C,) of the classes in pre-training."""

    companion: dict[int, int]
    """Class to its companion: the class that captions mention along with it."""

    central: np.ndarray
    """Object classes that lie near the centre in pre-training."""

    peripheral: np.ndarray
    """Object classes that lie near the edge."""


def planted_facts(names: list[str]) -> Planted:
    """Return the planted biases of a mini world's classes, by name, from mini-clip's record."""
    record = read_json(PACKAGED / "mini-clip.json")
    world = WORLDS["ade"]
    roles = deal_roles(world, PlantedBias(**record["settings"]["bias"]))
    there = np.array([world.class_names.index(name) for name in names])
    here = {c: k for k, c in enumerate(there)}
    companion = {
        here[c]: here[other] for c, other in roles.companion.items() if c in here and other in here
    }
    is_object, is_central = np.isin(there, world.objects), roles.is_central[there]
    central, peripheral = (np.flatnonzero(is_object & at) for at in (is_central, ~is_central))
    return Planted(roles.weights[there], companion, central, peripheral)


def frequency_slope(confusion: np.ndarray, planted: Planted) -> float:
    """Return the slope of log(predicted / true pixels) over log(frequency in pre-training).

    0: frequent classes are predicted as readily as rare ones; 1: in proportion to frequency. A
    hundredth of the mean class is added to both counts, so that the logarithm exists for a class
    that is never predicted.
    """
    predicted, true = confusion.sum(axis=0), confusion.sum(axis=1)
    floor = 0.01 * true.mean()
    excess = np.log((predicted + floor) / (true + floor))
    return float(np.polyfit(np.log(planted.frequency), excess, 1)[0])


def companion_excess(confusion: np.ndarray, planted: Planted) -> float:
    """Return by how many points classes are taken for their companions more than the reverse.

    Percentage points: the mean over pairs of (share of c's pixels predicted as its companion) −
    (share of the companion's pixels predicted as c).
    """
    share = row_shares(confusion)
    gaps = np.array([share[c, other] - share[other, c] for c, other in planted.companion.items()])
    return _mean(gaps)


def hypothesis_excess(found: np.ndarray, present: np.ndarray, planted: Planted) -> float:
    """Return by how many points an absent companion is hypothesised more than the reverse.

    Args:
        found, present: bool (N, C), the hypotheses and the truth of N images.

    Percentage points: the mean over pairs of (share of images with c and without its companion
    whose hypotheses hold the companion) − (the same with the two exchanged).
    """

    def invented(c: int, other: int) -> float:
        return 100 * _mean(found[present[:, c] & ~present[:, other], other])

    gaps = np.array([invented(c, o) - invented(o, c) for c, o in planted.companion.items()])
    return _mean(gaps)


def place_preference(objects: np.ndarray, planted: Planted) -> float:
    """Return the points of recall that an object gains at the usual place of its class.

    Args:
        objects: rows of class, distance and recall in percent (see `object_recalls`).

    The result is half of (recall near the centre − recall far from it) of the central classes,
    minus the same of the peripheral ones. So effects on all classes cancel, such as objects that
    are cut off at the edge.
    """
    drops = []
    for classes in (planted.central, planted.peripheral):
        of = objects[np.isin(objects[:, 0], classes)]
        near = of[:, 1] < NEAR
        drops.append(_mean(of[near, 2]) - _mean(of[~near, 2]))
    return (drops[0] - drops[1]) / 2


def _mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN of none, without numpy's warning."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else math.nan


def object_recalls(
    comparison: Comparison, result: Result, device: torch.device
) -> list[np.ndarray]:
    """Return for each seed (N, 3): class, distance from the centre and recall of val objects.

    An object is the region of one class in one image, as in `reclip.evaluate.location`.
    """
    items = comparison.data.items("val")
    found = []
    for predict in result.predictors(device):
        rows = []
        for number, item in enumerate(items):
            with torch.inference_mode():
                predicted = predict(number, item).cpu().numpy()
            label = read_label(item.label)
            for k in np.unique(label[label < comparison.data.num_classes]):
                region = label == k
                recall = 100 * (predicted[region] == k).mean()
                rows.append((k, centre_distance(region), recall))
        found.append(np.array(rows))
    return found


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
    for comparison in (c for c in comparisons if "world" in c.data.facts):
        facts = planted_facts(comparison.names)
        for role, result in comparison.results.items():
            values = {}
            if role == "query":
                values["hypotheses"] = [hypothesis_excess(*result.hypotheses, facts)]
            values["frequency"] = [frequency_slope(m, facts) for m in result.confusion]
            values["companion"] = [companion_excess(m, facts) for m in result.confusion]
            objects = object_recalls(comparison, result, device)
            values["place"] = [place_preference(o, facts) for o in objects]
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
