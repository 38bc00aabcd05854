from __future__ import annotations

import math

import numpy as np
import pytest

from reclip.data.world.bias import PlantedBias
from reclip.data.world.scenes import WORLDS
from reclip.evaluate.figures.companions import (
    draw,
    hypothesis_excess,
    mask_excess,
    planted_companions,
)
from reclip.evaluate.figures.measured import Measured

PLANTED = {0: 1, 3: 2}


def test_companions_are_found_by_name() -> None:
    bias = PlantedBias()
    ade, voc = (planted_companions(list(WORLDS[w].class_names), bias) for w in ("ade", "voc"))
    where = [WORLDS["ade"].class_names.index(name) for name in WORLDS["voc"].class_names]
    assert len(voc) == len(WORLDS["voc"].confusable)
    assert all(ade[where[c]] == where[other] for c, other in voc.items())
    assert planted_companions(list(WORLDS["voc"].class_names), PlantedBias(companion=0)) == {}


def test_companions_in_masks_count_against_the_reverse() -> None:
    confusion = np.array([[6, 4, 0, 0], [1, 9, 0, 0], [0, 0, 10, 0], [0, 0, 5, 5]])
    assert mask_excess(confusion, PLANTED) == pytest.approx((40 - 10 + 50 - 0) / 2)
    symmetric = np.array([[5, 5, 0, 0], [5, 5, 0, 0], [0, 0, 5, 5], [0, 0, 5, 5]])
    assert mask_excess(symmetric, PLANTED) == 0


def test_companions_in_hypotheses_count_only_where_they_are_absent() -> None:
    present = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 1]], bool)
    found = np.array([[1, 1], [1, 0], [1, 1], [0, 1], [0, 1]], bool)
    assert hypothesis_excess(found, present, {0: 1}) == pytest.approx(50 - 0)
    assert hypothesis_excess(found, present, {1: 0}) == pytest.approx(0 - 50)
    assert math.isnan(hypothesis_excess(found, np.ones_like(present), {0: 1}))


def test_a_measure_without_a_value_is_drawn() -> None:
    values = {"masks": np.array([0.0, 1.0]), "hypotheses": np.array([math.nan])}
    figure = draw([Measured("voc", name, "query", "run", v) for name, v in values.items()])
    shown = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert shown == [[""], ["0.5"]]
