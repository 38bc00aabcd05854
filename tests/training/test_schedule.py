"""The learning rate of each step, and the order of the photos."""

from __future__ import annotations

import numpy as np
import pytest

from reclip.common.errors import ReclipError
from reclip.config.load import validate
from reclip.config.models import ProbeSettings, RectifySettings
from reclip.training.batches import batches
from reclip.training.loop import learning_rate

STEPS, EPOCHS = 40, 10


def rates(**settings) -> list[float]:
    given = RectifySettings(epochs=EPOCHS, lr=0.1, **settings)
    return [learning_rate(given, s, s * EPOCHS // STEPS, STEPS) for s in range(STEPS)]


def test_poly_at_every_step() -> None:
    wanted = [0.1 * (1 - s / STEPS) ** 0.9 for s in range(STEPS)]
    assert rates() == pytest.approx(wanted)


def test_poly_once_an_epoch_is_the_official_codes() -> None:
    found = rates(schedule="epoch")
    wanted = [0.1 * (1 - e / EPOCHS) ** 0.9 for e in range(EPOCHS)]
    assert found[:: STEPS // EPOCHS] == pytest.approx(wanted)
    assert len(set(found)) == EPOCHS


def test_the_rate_stops_at_its_minimum() -> None:
    assert min(rates(min_lr=0.05, schedule="epoch")) == 0.05


def test_the_drop_of_maskcontrast() -> None:
    """A tenth of the rate from epoch 25 of 60."""
    given = ProbeSettings(epochs=60, lr=0.1, schedule="drop")
    found = [learning_rate(given, 0, epoch, 1) for epoch in range(60)]
    assert found[:25] == [0.1] * 25 and found[25:] == pytest.approx([0.01] * 35)


@pytest.mark.parametrize("schedule", ["step", "epoch"])
def test_a_training_that_stops_before_its_horizon_is_the_start_of_a_longer_one(schedule) -> None:
    """ReCLIP++ stops at 51 of 200 epochs."""
    longer = RectifySettings(epochs=200, lr=0.01, schedule=schedule)
    short = longer.model_copy(update={"epochs": 51, "horizon": 200})
    an_epoch = 7
    for step in range(51 * an_epoch):
        epoch = step // an_epoch
        found = learning_rate(short, step, epoch, 51 * an_epoch)
        assert found == learning_rate(longer, step, epoch, 200 * an_epoch)
    assert found == pytest.approx(0.01 * 0.75**0.9, rel=0.02)


@pytest.mark.parametrize("schedule", ["step", "epoch", "drop"])
def test_a_horizon_of_all_epochs_changes_nothing(schedule) -> None:
    assert rates(schedule=schedule, horizon=EPOCHS) == rates(schedule=schedule)


def test_a_drop_comes_in_the_horizon_too() -> None:
    given = ProbeSettings(epochs=30, horizon=60, lr=0.1, schedule="drop")
    found = [learning_rate(given, 0, epoch, 30) for epoch in range(30)]
    assert found[:25] == [0.1] * 25 and found[25:] == pytest.approx([0.01] * 5)


def test_a_horizon_before_the_end_is_refused() -> None:
    with pytest.raises(ReclipError, match=r"`horizon` \(50\) ends before the training: raise it"):
        validate(RectifySettings, {"epochs": 51, "horizon": 50}, "rectify")
    assert validate(RectifySettings, {"epochs": 51, "horizon": 51}, "rectify").horizon == 51


def test_the_order_is_new_in_each_epoch_or_the_same() -> None:
    def orders(order: str) -> list[list[int]]:
        steps = batches(np.arange(20), 1, 3, seed=5, order=order)
        rows = [int(row) for _, (row,) in steps]
        return [rows[at : at + 20] for at in range(0, 60, 20)]

    new, same = orders("new"), orders("same")
    assert all(sorted(order) == list(range(20)) for order in (*new, *same))
    assert new[0] != new[1] and same[0] == same[1] == same[2] == new[0]
