from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student_t
from sklearn.metrics import confusion_matrix, jaccard_score

from reclip.config.models import RectifySettings
from reclip.evaluate.metrics import iou, miou, pixel_accuracy
from reclip.evaluate.statistics import summarise
from reclip.training.loop import make_sgd, poly_lr


def test_measures_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 6, 500)
    pred = np.where(rng.random(500) < 0.5, label, rng.integers(0, 6, 500))
    confusion = confusion_matrix(label, pred, labels=range(6))
    np.testing.assert_allclose(iou(confusion), jaccard_score(label, pred, average=None))
    assert miou(confusion) == pytest.approx(jaccard_score(label, pred, average="macro"))
    assert pixel_accuracy(confusion) == pytest.approx((label == pred).mean())


def test_absent_classes() -> None:
    confusion = np.zeros((4, 4), int)
    confusion[0, :2] = 1  # class 0 half right, class 1 predicted but not there, 2 and 3 nowhere
    np.testing.assert_array_equal(iou(confusion), [0.5, 0.0, math.nan, math.nan])
    assert miou(confusion) == 0.5 / 4
    assert miou(np.zeros((2, 2), int)) == 0
    assert math.isnan(pixel_accuracy(np.zeros((2, 2), int)))


def test_summary() -> None:
    values = [0.5, 0.6, 0.55, 0.65]
    summary = summarise(values)
    assert (summary["n"], summary["mean"]) == (4, pytest.approx(0.575))
    assert summary["sd"] == pytest.approx(np.std(values, ddof=1))
    low, high = student_t.interval(0.95, 3, loc=0.575, scale=summary["sd"] / 2)
    assert (summary["low"], summary["high"]) == (pytest.approx(low), pytest.approx(high))
    single = {"n": 1, "mean": 0.4, "sd": None, "low": None, "high": None}
    assert summarise([0.4]) == single


def test_poly_lr() -> None:
    assert poly_lr(0, 100, 0.01) == 0.01
    assert poly_lr(50, 100, 0.01) == pytest.approx(0.01 * 0.5**0.9)
    assert poly_lr(100, 100, 0.01) == 0.0
    assert poly_lr(99, 100, 0.01, minimum=1e-3) == 1e-3
    assert poly_lr(101, 100, 0.01, power=0.5, minimum=1e-4) == 1e-4


def test_make_sgd_leaves_frozen_parameters_out() -> None:
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    optimizer = make_sgd(layer, RectifySettings(lr=0.1, weight_decay=0.2))
    (group,) = optimizer.param_groups
    assert len(group["params"]) == 1 and group["params"][0] is layer.weight
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 0.2)
