"""The planted companions of mini-clip: how the image-level hypotheses hand their bias on.

Captions of the pre-training mention look-alikes that are not in the scene. The benchmark's scenes
hold companions as often as chance has it, so a method without the bias measures 0, up to chance.
The definitions are ours.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from reclip.common.files import read_json
from reclip.data.world.bias import PlantedBias, deal_roles
from reclip.data.world.scenes import WORLDS
from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import ROLES, Comparison
from reclip.evaluate.figures.measured import WHISKERS, Measured, draw_bars
from reclip.evaluate.shares import row_shares
from reclip.weights.identity import PACKAGED

TABLE = "companions.csv"

PANELS = {
    "hypotheses": "Image-level hypotheses name companions that are absent",
    "masks": "Masks take classes for their companions",
}
"""Measure to its panel's title."""

EXPLANATION = (
    "Captions of the pre-training mention look-alikes that are not in the scene. The image-level "
    "hypotheses\nrepeat this, and teach it to the rectification."
)


def packaged_bias() -> PlantedBias:
    """Return the biases that were planted in the training of mini-clip, from its record."""
    return PlantedBias(**read_json(PACKAGED / "mini-clip.json")["settings"]["bias"])


def planted_companions(names: list[str], bias: PlantedBias) -> dict[int, int]:
    """Return class to companion of a mini world's classes, by name.

    A companion is the class that captions mention along with it. Empty if none was planted.
    """
    if not bias.companion:
        return {}
    world = WORLDS["ade"]
    here = {world.class_names.index(name): k for k, name in enumerate(names)}
    companions = deal_roles(world, bias).companion.items()
    return {here[c]: here[other] for c, other in companions if c in here and other in here}


def mask_excess(confusion: np.ndarray, companions: dict[int, int]) -> float:
    """Return by how many points classes are taken for their companions more than the reverse.

    Percentage points, from counts (C, C): the mean over pairs of (share of c's pixels predicted as
    its companion) - (share of the companion's pixels predicted as c).
    """
    share = row_shares(confusion)
    gaps = np.array([share[c, other] - share[other, c] for c, other in companions.items()])
    return _mean(gaps)


def hypothesis_excess(found: np.ndarray, present: np.ndarray, companions: dict[int, int]) -> float:
    """Return by how many points an absent companion is hypothesised more than the reverse.

    Args:
        found, present: bool (N, C), the hypotheses and the truth of N images.

    Percentage points: the mean over pairs of (share of images with c and without its companion
    whose hypotheses hold the companion) - (the same with the two exchanged).
    """

    def invented(c: int, other: int) -> float:
        return 100 * _mean(found[present[:, c] & ~present[:, other], other])

    return _mean(np.array([invented(c, o) - invented(o, c) for c, o in companions.items()]))


def _mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN of none, without numpy's warning."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else math.nan


def measure(comparisons: list[Comparison]) -> list[Measured]:
    """Measure every run on the mini worlds; other datasets, and CLIPs without companions, none."""
    found, bias = [], packaged_bias()
    for comparison in (c for c in comparisons if "world" in c.data.facts):
        companions = planted_companions(comparison.names, bias)
        if not companions:
            continue
        for role, result in comparison.results.items():
            of_run = {"masks": [mask_excess(m, companions) for m in result.confusion]}
            if role == "query":
                of_run["hypotheses"] = [hypothesis_excess(*result.hypotheses, companions)]
            found += [
                Measured(comparison.dataset, name, role, result.run, np.array(values))
                for name, values in of_run.items()
            ]
    return found


def draw(measured: list[Measured]) -> Figure:
    """Draw the hypotheses' excess beside that of the masks, a group of bars a dataset."""
    if not measured:
        return style.nothing("this CLIP or these datasets have no planted companions")
    figure = Figure(figsize=(style.WIDTH, 4.1))
    for ax, (name, title) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        draw_bars(ax, [m for m in measured if m.measure == name], digits=1)
        ax.set(title=title, ylabel="points more often than the reverse")
    roles = {m.role for m in measured}
    style.roles_legend(figure, {role: name for role, name in ROLES.items() if role in roles})
    style.note(figure, f"{EXPLANATION} 0: no bias. {WHISKERS}.", size=8)
    return figure
