from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student_t
from sklearn.metrics import confusion_matrix, jaccard_score

from reclip.common.errors import ReclipError
from reclip.config.models import RectifySettings
from reclip.evaluate.metrics import ConfusionMatrix
from reclip.evaluate.rings import Rings
from reclip.evaluate.statistics import summarise
from reclip.training.loop import make_sgd, poly_lr


def maps(seed: int, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, size=(23, 17))
    pred = np.where(rng.random(label.shape) < 0.5, label, rng.integers(0, classes, label.shape))
    label[rng.random(label.shape) < 0.1] = 255
    return pred, label


def test_confusion_matrix_agrees_with_scikit_learn() -> None:
    ours = ConfusionMatrix(6)
    preds, labels = [], []
    for seed in range(3):
        pred, label = maps(seed)
        ours.update(torch.from_numpy(pred), label.astype(np.uint8))
        keep = label != 255
        preds.append(pred[keep])
        labels.append(label[keep])
    pred, label = np.concatenate(preds), np.concatenate(labels)
    np.testing.assert_array_equal(ours.matrix, confusion_matrix(label, pred, labels=range(6)))
    assert ours.matrix.dtype == np.int64
    np.testing.assert_allclose(ours.iou(), jaccard_score(label, pred, average=None))
    assert ours.miou() == pytest.approx(jaccard_score(label, pred, average="macro"))
    assert ours.pixel_accuracy() == pytest.approx((label == pred).mean())


@pytest.mark.parametrize("measure", [ConfusionMatrix(6), Rings(6, 4)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integers_are_counted_and_kept(
    measure: ConfusionMatrix | Rings, dtype: torch.dtype
) -> None:
    given = [torch.from_numpy(ids).to(dtype) for ids in maps(0)]
    before = [ids.clone() for ids in given]
    measure.update(*given)
    assert all(map(torch.equal, given, before))


def test_absent_classes() -> None:
    confusion = ConfusionMatrix(4)
    # Class 0 half right, class 1 predicted but not there, classes 2 and 3 nowhere.
    confusion.update(np.array([[0, 1]]), np.array([[0, 0]]))
    np.testing.assert_array_equal(confusion.iou(), [0.5, 0.0, math.nan, math.nan])
    assert confusion.miou() == 0.5 / 4
    assert ConfusionMatrix(2).miou() == 0
    assert math.isnan(ConfusionMatrix(2).pixel_accuracy())


@pytest.mark.parametrize(
    ("pred", "label", "message"),
    [
        ([[0, 1]], [[0, 3]], "label map 2007_000032.png holds ids 0 to 3, but there are 3"),
        ([[0, 3]], [[0, 1]], "prediction for 2007_000032.png holds ids 0 to 3"),
        ([[0, 1]], [[-1, 1]], "holds ids -1 to 1"),
        ([[0, 1]], [[0], [1]], "2007_000032.png is 2 x 1 but its prediction is 1 x 2"),
    ],
)
def test_wrong_maps_are_named(pred: list, label: list, message: str) -> None:
    confusion = ConfusionMatrix(3)
    with pytest.raises(ReclipError, match=message):
        confusion.update(np.array(pred), np.array(label), "2007_000032.png")
    assert confusion.matrix.sum() == 0


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
