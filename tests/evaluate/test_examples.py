from __future__ import annotations

import math

import numpy as np
import pytest

from reclip.data.images import IGNORED
from reclip.evaluate.figures.examples import at_quantiles, choose, photo_miou

IDS = [f"photo-{k}" for k in range(5)]


def test_photos_at_the_quartiles_of_the_gain() -> None:
    gains = np.array([3.0, -1.0, 0.0, 9.0, 5.0])
    assert at_quantiles(gains, IDS) == {"upper quartile": 4, "median": 0, "lower quartile": 2}


def test_equal_gains_are_ranked_by_id_and_photos_without_labels_not_at_all() -> None:
    gains = np.zeros(5)
    assert list(at_quantiles(gains, IDS).values()) == [3, 2, 1]
    assert list(at_quantiles(gains, IDS[::-1]).values()) == [1, 2, 3]
    gains[[2, 3]] = math.nan
    assert list(at_quantiles(gains, IDS).values()) == [4, 1, 0]
    assert at_quantiles(np.full(5, math.nan), IDS) == {}
    assert set(at_quantiles(np.zeros(1), IDS[:1]).values()) == {0}


def test_each_stage_is_ranked_by_its_own_gain() -> None:
    before = np.full(5, 40.0)
    scores = {
        "query": before,
        "rectified": before + np.arange(5),
        "distilled": before + np.arange(5)[::-1],
    }
    blocks = choose(scores, IDS)
    assert list(blocks) == [
        "Rectification: photos ranked by what it adds to their mIoU (rectified − Query)",
        "Distillation: photos ranked by what it adds to their mIoU (distilled − rectified)",
    ]
    first, second = blocks.values()
    assert [row.number for row in first] == [3, 2, 1]
    assert [row.number for row in second] == [1, 2, 3]
    assert first[0].label == "upper quartile\n+3.0 points"
    assert second[2].label == "lower quartile\n−2.0 points"
    assert first[0].compared == ("query", "rectified")


@pytest.mark.parametrize("scores", [{"query": np.zeros(5)}, {}])
def test_a_single_method_is_shown_at_equal_distances(scores: dict) -> None:
    (rows,) = choose(scores, IDS).values()
    assert [row.number for row in rows] == [0, 2, 4]


def test_the_score_of_a_photo_is_over_the_classes_in_its_label_map() -> None:
    label = np.array([[0, 0, 1, IGNORED]], np.uint8)
    pred = np.array([[0, 2, 1, 1]])  # class 2 is predicted, but not there
    assert photo_miou(pred, label, 3) == pytest.approx(100 * (1 / 2 + 1) / 2)
    assert math.isnan(photo_miou(pred, np.full_like(label, IGNORED), 3))
