"""How much of the biases that were planted into mini-clip a run still shows.

The benchmark's scenes are uniform, so each of these numbers is 0 but for chance where a method has
no such bias. The definitions are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from reclip.common.files import read_json
from reclip.data.images import read_label
from reclip.data.world.bias import PlantedBias, deal_roles
from reclip.data.world.scenes import WORLDS
from reclip.evaluate.figures.comparison import Comparison, Result, row_shares
from reclip.evaluate.location import centre_distance

NEAR = 0.5
"""An object whose distance (see `reclip.evaluate.location`) is below is near the centre."""


@dataclass(frozen=True)
class Planted:
    """The planted facts about the C classes of one dataset."""

    frequency: np.ndarray
    """(C,) how often a class is drawn in pre-training, relative to the others."""

    companion: dict[int, int]
    """Class -> the class that captions mention along with it."""

    central: np.ndarray
    """Object classes that lie near the centre in pre-training."""

    peripheral: np.ndarray
    """Object classes that lie near the edge."""


def planted_facts(names: list[str]) -> Planted:
    """What mini-clip's record says about classes of a mini world, found by their names."""
    record = read_json(Path(str(resources.files("reclip") / "assets" / "mini-clip.json")))
    world = WORLDS["ade"]
    roles = deal_roles(world, PlantedBias(**record["settings"]["bias"]))
    here = {world.class_names.index(name): k for k, name in enumerate(names)}
    companion = {
        here[c]: here[other] for c, other in roles.companion.items() if c in here and other in here
    }
    objects = [c for c in here if c in world.objects]
    central = [here[c] for c in objects if roles.is_central[c]]
    peripheral = [here[c] for c in objects if not roles.is_central[c]]
    return Planted(roles.weights[list(here)], companion, np.array(central), np.array(peripheral))


def frequency_slope(confusion: np.ndarray, planted: Planted) -> float:
    """Slope of log(predicted / true pixels) of a class over log(frequency in pre-training).

    0: frequent classes are predicted as readily as rare ones; 1: in proportion to frequency. A
    hundredth of the mean class is added to both counts, so that a class that is never predicted
    has a logarithm.
    """
    predicted, true = confusion.sum(axis=0), confusion.sum(axis=1)
    floor = 0.01 * true.mean()
    excess = np.log((predicted + floor) / (true + floor))
    return float(np.polyfit(np.log(planted.frequency), excess, 1)[0])


def companion_excess(confusion: np.ndarray, planted: Planted) -> float:
    """Percentage points by which classes are taken for their companions more than the reverse.

    The mean over pairs of (share of c's pixels predicted as its companion) − (share of the
    companion's pixels predicted as c).
    """
    share = row_shares(confusion)
    gaps = np.array([share[c, other] - share[other, c] for c, other in planted.companion.items()])
    return _mean(gaps[~np.isnan(gaps)])


def hypothesis_excess(found: np.ndarray, present: np.ndarray, planted: Planted) -> float:
    """Percentage points by which an absent companion is hypothesised more than the reverse.

    Args:
        found, present: bool (N, C), the hypotheses and the truth of N images.

    Returns:
        The mean over pairs of (share of images with c and without its companion for which the
        companion is hypothesised) − (the same with the two exchanged).
    """

    def invented(c: int, other: int) -> float:
        return 100 * _mean(found[present[:, c] & ~present[:, other], other])

    gaps = np.array([invented(c, o) - invented(o, c) for c, o in planted.companion.items()])
    return _mean(gaps[~np.isnan(gaps)])


def place_preference(objects: np.ndarray, planted: Planted) -> float:
    """Percentage points of recall that an object owes to lying where its class used to lie.

    Args:
        objects: rows of class, distance and recall in percent (see `object_recalls`).

    Returns:
        Half of (recall near the centre − recall far from it) of the central classes minus the same
        of the peripheral ones: what all classes have in common, such as cut-off objects at the
        edge, cancels.
    """
    drops = []
    for classes in (planted.central, planted.peripheral):
        of = objects[np.isin(objects[:, 0], classes)]
        near = of[:, 1] < NEAR
        drops.append(_mean(of[near, 2]) - _mean(of[~near, 2]))
    return (drops[0] - drops[1]) / 2


def _mean(values: np.ndarray) -> float:
    """NaN of none, without numpy's warning."""
    return float(values.mean()) if values.size else math.nan


def object_recalls(
    comparison: Comparison, result: Result, device: torch.device
) -> list[np.ndarray]:
    """For every seed (N, 3): class, distance from the centre and recall of each object in val.

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
